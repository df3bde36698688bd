import dataclasses
import logging

import pytest
import torch

from tests.unit.callbacks.toy import Inferrer, Loss, fit, real_volume, scatters
from tests.unit.callbacks.toy import Wrapper as Toy
from tomopt_tasks.callbacks.gradients import NoMoreNaNs
from tomopt_tasks.callbacks.nonfinite import GradientRecord, describe
from tomopt_tasks.inference.tracks import fit_tracks


class FromScatters(Inferrer):
    """A prediction that uses points of closest approach and their uncertainties."""

    def get_prediction(self):
        batch = self.scatters
        return (batch.poca.xyz[:, 2] * batch.poca.sigma[:, 2]).mean().reshape(1)


class Wrapper(Toy):
    """The real panels; ``poison`` may spoil a batch of scatters."""

    def __init__(self, poison=lambda batch: None, loss=None):
        self.poison = poison
        super().__init__(real_volume(n_panels=3), loss=loss, lr=1e-6)
        self.volume.load_rad_length = self._load
        self.partial_volume_inferrer = FromScatters
        self.scan = self._scanned

    def _build_opt(self, **partial_opts):
        panels = [panel for layer in self.volume.get_detectors() for panel in layer.panels]
        for name, build in partial_opts.items():
            self.opts[name] = build([getattr(panel, name) for panel in panels])

    def _load(self, _, target):
        self.volume.target = target

    def _scanned(self):
        batch = scatters(self.volume)
        self.poison(batch)
        return batch


def spoil(batch, side, field, index, value):
    """Put a value into a quantity of the hits, and fit the tracks again."""
    record = getattr(batch, side)
    tensor = getattr(record.hits, field).clone()
    tensor[index] = value
    hits = dataclasses.replace(record.hits, **{field: tensor})
    setattr(batch, side, record._replace(hits=hits))
    name = {"above": "tracks_in", "below": "tracks_out"}[side]
    setattr(batch, name, fit_tracks(*getattr(batch, side)))


def run(tmp_path, wrapper, cbs=(), **options):
    record = GradientRecord()
    fit([record, *cbs], tmp_path, n_epochs=1, targets=(0.0,), wrapper=wrapper, **options)
    return record


def test_norms_of_all_gradients_are_recorded_by_panel(tmp_path):
    record = run(tmp_path, Wrapper())
    assert set(record.norms) >= {"above[0].xy", "above[2].z", "below[1].xy_span"}
    assert all(len(values) == 1 for values in record.norms.values())
    assert record.norms["above[0].z"][0] > 0
    assert record.n_nonfinite == 0
    assert record.explain() == []


@pytest.mark.parametrize("side", ["above", "below"])
@pytest.mark.parametrize(("value", "word"), [(float("nan"), "nan"), (float("inf"), "inf")])
def test_source_of_a_bad_hit_is_its_muon_and_its_panel(tmp_path, caplog, side, value, word):
    wrapper = Wrapper(lambda batch: spoil(batch, side, "sigma", (17, 1, 0), value))
    with caplog.at_level(logging.WARNING):
        record = run(tmp_path, wrapper)
    source = record.sources[0]
    assert (source["kind"], source["quantity"]) == ("value", "sigma of a hit")
    assert (source["panel"], source["muon"], source["volume"]) == (f"{side}[1]", 17, 0)
    assert (source["value"], source["count"], source["mu_batch"]) == (word, 1, 0)
    assert len(record.sources) == 1  # what follows from it is not reported
    assert caplog.messages == [describe(source)]
    assert describe(source) == (
        f"epoch 1, train, update 0: sigma of a hit on panel {side}[1] of muon 17 (batch 0) in "
        f"volume 0 is {word}, the first of 1 such numbers"
    )


def test_source_of_a_bad_gradient_is_where_the_way_back_meets_it_first(tmp_path):
    class RootOfZero(FromScatters):
        """Finite; on the way back an infinite slope times zero, for muon 5 alone."""

        def get_prediction(self):
            root = torch.sqrt(self.scatters.poca.sigma[5, 2] * 0.0)
            return super().get_prediction() + root

    wrapper = Wrapper()
    wrapper.partial_volume_inferrer = RootOfZero
    record = run(tmp_path, wrapper)
    source = record.sources[0]
    assert (source["kind"], source["quantity"]) == ("gradient", "poca.sigma")
    assert (source["muon"], source["count"], source["panel"]) == (5, 1, None)
    where = "the gradient of poca.sigma of muon 5 (batch 1) in volume 0 is nan"
    assert describe(source).startswith(f"epoch 1, train, update 0: {where}")
    assert record.n_nonfinite == 1


def test_a_loss_that_is_not_finite_is_named(tmp_path):
    class Broken(Loss):
        def __call__(self, pred, volume):
            return super().__call__(pred, volume) + float("inf")

    record = run(tmp_path, Wrapper(loss=Broken()))
    assert record.sources[0]["quantity"] == "loss"


def test_later_volumes_and_batches_are_told_apart(tmp_path):
    calls = []

    def third(batch):
        calls.append(1)
        if len(calls) == 4:  # volume 1, second batch of muons
            spoil(batch, "below", "residual", (3, 2, 1), float("nan"))

    record = GradientRecord()
    fit([record], tmp_path, n_epochs=1, targets=(0.0, 0.0), bs=2, wrapper=Wrapper(third))
    source = record.sources[0]
    assert (source["volume"], source["mu_batch"], source["muon"]) == (1, 1, 3)
    assert source["panel"] == "below[2]"


def test_gradient_of_a_parameter_alone_is_named_before_it_is_mended(tmp_path):
    wrapper = Wrapper()
    panel = wrapper.volume.get_detectors()[1].panels[2]
    panel.z.register_hook(lambda grad: grad * float("nan"))
    guard = NoMoreNaNs()
    record = run(tmp_path, wrapper, [guard])
    assert record.sources[0]["quantity"] == "below[2].z"
    assert guard.n_zeroed == 1


def test_only_so_many_sources_are_kept(tmp_path):
    wrapper = Wrapper(lambda batch: spoil(batch, "above", "sigma", (0, 0, 0), float("nan")))
    record = GradientRecord(max_sources=2)
    fit([record], tmp_path, n_epochs=5, targets=(0.0,), wrapper=wrapper)
    assert (len(record.sources), record.n_nonfinite) == (2, 5)
