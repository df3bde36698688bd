"""Banks that are read scan by scan: equal bits, and never more of them in memory than a scan."""

import gc
import weakref
from functools import partial

import numpy as np
import pytest
import torch

from tests.pipeline.common import changed
from tests.unit.wrapper.common import WORLD, detector, notebook_volume, passives
from tests.unit.wrapper.test_replay import CASES, N_MUONS, _Saved, gradients
from tomopt_tasks import stages
from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.inference.classifiers import DenseBlockClassifierFromX0s
from tomopt_tasks.inference.reduced import ReducedScatters
from tomopt_tasks.inference.settings import PocaZFillLevelSettings
from tomopt_tasks.inference.voxels import PanelX0Inferrer, UnbiasedX0
from tomopt_tasks.losses.settings import SpreadRangeLossSettings
from tomopt_tasks.losses.volumes import VolumeMSELoss
from tomopt_tasks.losses.voxels import VoxelX0Loss
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.store import ArraySpec, open_store
from tomopt_tasks.store.datasets import Dataset
from tomopt_tasks.transport import bank as bank_module
from tomopt_tasks.transport.states import LazyStates, mirrored_states, some_muons, some_volumes
from tomopt_tasks.wrapper import scans
from tomopt_tasks.wrapper.build import build_wrapper
from tomopt_tasks.wrapper.checkpoint import PhaseFit, first_tree
from tomopt_tasks.wrapper.loop import VolumeLoop
from tomopt_tasks.wrapper.memory import MEMORY
from tomopt_tasks.wrapper.observers import PredictionRecord
from tomopt_tasks.wrapper.scans import BankedPassives, mirrored
from tomopt_tasks.wrapper.settings import Phase


class Asked:
    """States that know how many volumes were ever asked for at once."""

    def __init__(self, state) -> None:
        self.most = 0
        self.given = weakref.WeakSet()
        self.held = 0
        self.lazy = LazyStates(tuple(state.shape), lambda v, m: self._load(state, v, m))

    def _load(self, state, volumes, muons):
        gc.collect()
        self.held = max(self.held, len(self.given))
        self.most = max(self.most, volumes.stop - volumes.start)
        given = state[volumes, muons].clone()
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
        Dataset, "rows", lambda self, *asked: read.append(asked) or rows(self, *asked)
    )
    monkeypatch.setattr(stages, "HELD", 0)
    large = stages.states_of(store.open_dataset(ref))
    for first in range(0, 14, 3):
        np.testing.assert_array_equal(large[first : first + 3], expected[first : first + 3])
    muons = slice(0, 60)
    assert read == [("state", slice(k * 5, k * 5 + 5), muons) for k in range(3)]  # each chunk once


def test_a_large_exposure_is_read_stretch_by_stretch(stored, monkeypatch):
    """Chunks of 13 muons, where rows are longer than a chunk."""
    store, ref, *_ = stored
    whole = store.open_dataset(ref).array("state")
    monkeypatch.setattr("tomopt_tasks.store.chunks.TARGET_BYTES", 1000)
    spec = ArraySpec(whole, ("replica", "volume", "muon", "column"))
    again = store.put_dataset("bank", "0" * 64, {"state": spec}, {}, {})
    read = []
    rows = Dataset.rows
    monkeypatch.setattr(
        Dataset, "rows", lambda self, *asked: read.append(asked[1:]) or rows(self, *asked)
    )
    monkeypatch.setattr(stages, "HELD", 0)
    large = stages.states_of(store.open_dataset(again))
    for volumes, first, stop in (
        (slice(3, 4), 20, 45),
        (slice(3, 4), 40, 52),
        (slice(2, 5), 0, 60),
    ):
        part = some_muons(some_volumes(large, volumes.start, volumes.stop), first, stop)
        np.testing.assert_array_equal(part[:], whole[0][volumes, first:stop])
        if stop < 60:
            assert all(rows.start == 3 for rows, _ in read)
    assert [muons.start // 13 for _, muons in read[:4]] == [1, 2, 3, 0]  # the last one is at hand


MORE_CASES = {
    "within voxels": (
        partial(PanelX0Inferrer, method=UnbiasedX0(share="voxel", weights="plain")),
        partial(VoxelX0Loss, target_budget=5.0),
        None,
    ),
    "a block": (
        partial(DenseBlockClassifierFromX0s, 12, PanelX0Inferrer),
        partial(VolumeMSELoss, target_budget=5.0),
        None,
    ),
}
IN_PIECES = [
    ("sums", None),
    *((case, 6.0) for case in ("sums", "sums-tomopt", "quantiles", "variances", "network")),
    *((case, 6.0) for case in MORE_CASES),
]


@pytest.fixture
def short_pieces(monkeypatch):
    """Pieces of 60 muons, with noise that is drawn 30 at a time."""
    monkeypatch.setattr(scans, "BLOCK", 30)
    return lambda: monkeypatch.setattr(scans, "CHUNK", 60)


@pytest.mark.parametrize(("case", "budget"), IN_PIECES)
def test_muons_of_a_volume_in_pieces_give_the_gradient_of_all(
    case, budget, short_pieces, monkeypatch
):
    if case in MORE_CASES:
        monkeypatch.setitem(CASES, case, MORE_CASES[case])
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


@pytest.mark.parametrize("case", ["sums", "quantiles", "sums-tomopt", "network"])
def test_more_muons_of_a_volume_take_no_more_memory(case, short_pieces):
    """From exposures of two, four and eight pieces: graphs hold nothing for muons of others."""
    short_pieces()
    most = []
    for n_muons in (120, 240, 480):
        bank = passives(1, n_muons)
        one = BankedPassives(bank.x0[:1], bank.target[:1], bank.state[:1])
        gc.collect()
        with _Saved() as saved:
            gradients(case, 0, bank=one, n_muons=n_muons)
        most.append(saved.most)
    assert max(most) < 1.02 * min(most)


def prediction(bank, limit=MEMORY):
    settings = PocaZFillLevelSettings()
    wrapper = build_wrapper(notebook_volume(6.0), settings, None, {}, 3, fitting=False)
    record = PredictionRecord()
    wrapper.memory.limit = limit
    wrapper.predict(bank, 150, 150, pred_cb=record)
    assert not wrapper.memory
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


def formed(monkeypatch, work):
    """How often the scatters of a piece are formed."""
    calls, cross = [], VolumeLoop._cross
    monkeypatch.setattr(VolumeLoop, "_cross", lambda *args: calls.append(1) or cross(*args))
    work()
    return len(calls)


GRAPH = 60 * scans.NUMBERS_PER_MUON * 8
SCATTERS = 150 * scans.NUMBERS_REDUCED * 8
"""Bytes of the graph of a piece, and of the scatters of one volume."""


@pytest.mark.parametrize(("limit", "n"), [(GRAPH + SCATTERS, 3), (GRAPH + SCATTERS - 1, 3 + 12)])
def test_predictions_keep_the_scatters_of_one_volume_at_a_time(short_pieces, monkeypatch, limit, n):
    """Three pieces a volume; one that is not kept is formed again for each of twelve passes."""
    short_pieces()
    assert formed(monkeypatch, lambda: prediction(passives(1, 150), limit)) == 3 * n


@pytest.mark.parametrize(("volumes", "room"), [(1, 1), (2, 1), (2, 2)])
def test_an_update_keeps_scatters_up_to_its_limit(short_pieces, monkeypatch, volumes, room):
    """Room for those of some volumes beside the graph of a piece, which is there one at a time.

    Sums take four passes and the count of muons one, their gradients four, one of them with graphs.
    """
    short_pieces()
    bank = passives(1, 150)
    some = BankedPassives(bank.x0[:volumes], bank.target[:volumes], bank.state[:volumes])
    found = formed(
        monkeypatch,
        lambda: gradients("sums", GRAPH + room * SCATTERS, bank=some, n_muons=150),
    )
    assert found == volumes * 3 * 2 + (volumes - room) * 3 * 8


class SpanPrice(Callback):
    """A price of its own on the widths that the budget gives."""

    def on_volume_batch_end(self):
        fit, layers = self.wrapper.fit_params, self.wrapper.volume.get_detectors()
        spans = [panel.get_scaled_xy_span() for layer in layers for panel in layer.panels]
        fit.mean_loss = fit.mean_loss + torch.stack(spans).square().sum()


def test_what_a_callback_makes_of_the_detector_has_its_gradient(short_pieces, monkeypatch):
    """Pieces are formed without a graph; panels must not be left so."""
    monkeypatch.setitem(CASES, "sums", (*CASES["sums"][:2], SpanPrice))
    bank = passives(1, 150)
    whole, _ = gradients("sums", 1 << 30, bank=bank, n_muons=150)
    short_pieces()
    found, _ = gradients("sums", 1 << 30, bank=bank, n_muons=150)
    for name in whole:
        torch.testing.assert_close(found[name], whole[name], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("case", ["sums", "quantiles", "variances", "network"])
def test_scatters_of_an_update_are_gone_with_it(case, short_pieces, monkeypatch):
    """Neither does a graph hold what leads to it, nor an update what the one before kept."""
    short_pieces()
    alive, hook = [], VolumeLoop.hook

    def kinds():
        gc.collect()
        found = [type(each) for each in gc.get_objects()]
        return found.count(ReducedScatters), found.count(CASES[case][0])

    def looked(self, name):
        if name == "on_volume_batch_begin":
            alive.append(kinds()[0])
        if name == "on_volume_batch_end":
            assert self.memory
        if name == "on_epoch_end":
            assert not self.memory  # before anything is collected
        hook(self, name)

    monkeypatch.setattr(VolumeLoop, "hook", looked)
    gradients(case, 1 << 30, bank=passives(2, 150), n_muons=150, epochs=3)
    assert alive == [0, 0, 0]
    assert kinds() == (0, 0)


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
