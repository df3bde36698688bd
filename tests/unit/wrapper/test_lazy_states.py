"""Banks that are read scan by scan: equal bits, and never more of them in memory than a scan."""

import gc
import weakref

import numpy as np
import pytest
import torch

from tests.pipeline.common import changed
from tests.unit.wrapper.common import WORLD, detector, notebook_volume, passives
from tests.unit.wrapper.test_replay import N_MUONS, _Saved, gradients
from tomopt_tasks import stages
from tomopt_tasks.inference.settings import PocaZFillLevelSettings
from tomopt_tasks.losses.settings import SpreadRangeLossSettings
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.store import open_store
from tomopt_tasks.store.datasets import Dataset
from tomopt_tasks.transport import bank as bank_module
from tomopt_tasks.transport.states import LazyStates, mirrored_states, some_muons
from tomopt_tasks.wrapper import scans
from tomopt_tasks.wrapper.build import build_wrapper
from tomopt_tasks.wrapper.checkpoint import PhaseFit, first_tree
from tomopt_tasks.wrapper.observers import PredictionRecord
from tomopt_tasks.wrapper.scans import BankedPassives, mirrored
from tomopt_tasks.wrapper.settings import Phase


class Asked:
    """States that know how many volumes were ever asked for at once."""

    def __init__(self, state) -> None:
        self.most = 0
        self.given = weakref.WeakSet()
        self.held = 0
        self.lazy = LazyStates(tuple(state.shape), lambda a, b: self._load(state, a, b))

    def _load(self, state, first, stop):
        gc.collect()
        self.held = max(self.held, len(self.given))
        self.most = max(self.most, stop - first)
        given = state[first:stop].clone()
        self.given.add(given)
        return given


@pytest.mark.parametrize("case", ["sums", "quantiles"])
def test_a_bank_that_is_read_scan_by_scan_gives_the_same_bits(case, monkeypatch):
    monkeypatch.setattr(scans, "CHUNK", 2 * N_MUONS)
    held = passives()
    whole, _ = gradients(case, 0)
    asked = Asked(held.state)
    lazy, _ = gradients(case, 0, bank=BankedPassives(held.x0, held.target, asked.lazy))
    assert (asked.most, asked.held) == (2, 0)
    assert all(torch.equal(whole[name], lazy[name]) for name in whole)


def test_shorter_and_mirrored_exposures_are_those_of_the_whole_bank():
    held = passives()
    asked = Asked(held.state)
    assert torch.equal(some_muons(asked.lazy, 0, 7)[1:3], held.state[1:3, :7])
    assert some_muons(asked.lazy, 0, 7).shape == (6, 7, 9)
    lazy = BankedPassives(held.x0, held.target, asked.lazy)
    whole = mirrored(held, 3, (1.0, 1.0)).state
    assert torch.equal(mirrored(lazy, 3, (1.0, 1.0)).state[2:5], whole[2:5])
    assert torch.equal(mirrored_states(asked.lazy, 3, (1.0, 1.0))[4:6], whole[4:6])
    assert asked.most == 3
    with pytest.raises(ValueError, match="consecutive"):
        asked.lazy[::2]


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A stored bank of 14 volumes, made and cut five volumes at a time or less."""
    made = []
    chunk = bank_module._chunk

    def watched(x0, *args):
        made.append(len(x0))
        return chunk(x0, *args)

    monkeypatch.setattr(bank_module, "_chunk", watched)
    monkeypatch.setattr(bank_module, "CHUNK", 240)
    monkeypatch.setattr("tomopt_tasks.store.chunks.TARGET_BYTES", 5 * 60 * 72)
    store = open_store(tmp_path)
    plan = plan_study(changed(("scenes.train.per_height", "7")))
    by_label = {stage.label: stage for stage in plan}
    volumes, transport = by_label["train volumes"], by_label["train bank"]
    parents = {"volumes": stages.make_volumes(store, volumes.key, volumes.inputs, {})}
    ref = stages.transport_muons(store, transport.key, transport.inputs, parents)
    return store, ref, {**parents, "bank": ref}, made


def test_the_bank_stage_holds_a_few_volumes_at_a_time(stored):
    _, ref, _, made = stored
    assert made == [4, 4, 4, 2]
    assert ref.metrics["muons"] == 14 * 60


def test_a_large_bank_is_read_chunk_by_chunk(stored, monkeypatch):
    store, ref, parents, _ = stored
    expected = store.open_dataset(ref).array("state")[0]
    small, _ = stages._passives(store, parents)
    assert isinstance(small.state, torch.Tensor)
    read = []
    rows = Dataset.rows
    monkeypatch.setattr(
        Dataset, "rows", lambda self, name, of: read.append((name, of)) or rows(self, name, of)
    )
    monkeypatch.setattr(stages, "HELD", 0)
    large = stages.states_of(store.open_dataset(ref))
    for first in range(0, 14, 3):
        np.testing.assert_array_equal(large[first : first + 3], expected[first : first + 3])
    assert read == [("state", slice(k * 5, k * 5 + 5)) for k in range(3)]  # each chunk once


IN_PIECES = [("sums", None), *((c, 6.0) for c in ("sums", "sums-tomopt", "quantiles", "network"))]


@pytest.fixture
def short_pieces(monkeypatch):
    """Pieces of 60 muons, with noise that is drawn 30 at a time."""
    monkeypatch.setattr(scans, "BLOCK", 30)
    return lambda: monkeypatch.setattr(scans, "CHUNK", 60)


@pytest.mark.parametrize(("case", "budget"), IN_PIECES)
def test_muons_of_a_volume_in_pieces_give_the_gradient_of_all(case, budget, short_pieces):
    bank = passives(2, 150)
    whole, _ = gradients(case, 1 << 30, budget, bank=bank, n_muons=150)
    short_pieces()
    kept, hooks = gradients(case, 1 << 30, budget, bank=bank, n_muons=150)
    again, hooks_again = gradients(case, 0, budget, bank=bank, n_muons=150)
    assert any(float(g.abs().max()) > 0 for g in whole.values())
    for name in whole:
        assert torch.equal(kept[name], again[name]), name
        torch.testing.assert_close(kept[name], whole[name], rtol=1e-6, atol=1e-12)
    assert hooks == hooks_again
    assert hooks.count("on_scatter_end") == 6 * 3  # volumes, pieces


@pytest.mark.parametrize("case", ["sums", "quantiles", "sums-tomopt"])
def test_the_graph_of_a_muon_in_pieces_holds_no_more_numbers_than_said(case, short_pieces):
    """From the difference of two exposures, so that grids and single pieces do not count."""
    short_pieces()
    most = []
    for n_muons in (240, 480):
        gc.collect()
        with _Saved() as saved:
            gradients(case, 1 << 30, bank=passives(1, n_muons), n_muons=n_muons)
        most.append(saved.most)
    assert (most[1] - most[0]) / (3 * 240) / 8 < scans.NUMBERS_IN_PIECES


def prediction(bank):
    settings = PocaZFillLevelSettings()
    wrapper = build_wrapper(notebook_volume(6.0), settings, None, {}, 3, fitting=False)
    record = PredictionRecord()
    wrapper.predict(bank, 150, 150, pred_cb=record)
    return record


def test_predictions_and_counts_do_not_depend_on_pieces(short_pieces):
    bank = passives(1, 150)
    whole = prediction(bank)
    short_pieces()
    pieces = prediction(bank)
    torch.testing.assert_close(pieces.get_preds(), whole.get_preds(), rtol=1e-12, atol=0.0)
    for name in ("accepted", "used"):
        assert torch.equal(torch.cat(getattr(pieces, name)), torch.cat(getattr(whole, name)))
    assert torch.equal(pieces.accepted_map, whole.accepted_map)
    assert int(whole.accepted_map.sum()) > 0


def acceptance(bank):
    phase = Phase(name="only", epochs=1)
    fit = PhaseFit(
        first_tree(WORLD, detector()), phase, PocaZFillLevelSettings(), SpreadRangeLossSettings(), 1
    )
    fit.run(bank, 0, len(bank), new=True)
    return fit.recorder.accepted


def test_the_acceptance_of_an_epoch_counts_every_muon_once(short_pieces):
    bank = passives(2, 150)
    whole = acceptance(bank)
    short_pieces()
    np.testing.assert_allclose(acceptance(bank), whole, rtol=1e-12)
    assert len(whole) == 6
