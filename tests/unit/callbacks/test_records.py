import pytest
import torch

from tests.unit.callbacks.toy import Wrapper, fit, passives, real_volume, scatters
from tomopt_tasks.callbacks.records import HitRecord, ScatterRecord, layer_of


class Scanned(Wrapper):
    """The toy, fed with scatters of real panels."""

    def __init__(self, **options):
        super().__init__()
        self.real = real_volume(**options)
        self.real.train()
        self.volume.get_passive_z_range = self.real.get_passive_z_range
        self.volume.get_passives = self.real.get_passives
        self.scan = lambda: scatters(self.real)


def test_points_of_closest_approach_inside_the_volume_are_recorded(tmp_path):
    record = ScatterRecord()
    wrapper = fit([record], tmp_path, n_epochs=1, targets=(1.0,), wrapper=Scanned())
    points = record.get_record()
    batch = scatters(wrapper.real)  # the same stream: each of the two batches of muons
    inside = batch.poca_xyz[batch.get_scatter_mask()]
    assert 0 < len(inside) < len(batch.valid)
    torch.testing.assert_close(points, torch.cat([inside, inside]).detach())
    assert not points.requires_grad


def test_recording_leaves_the_graph_of_the_scatters_intact(tmp_path):
    wrapper = Scanned()
    batch = scatters(wrapper.real)
    wrapper.scan = lambda: batch
    fit([ScatterRecord(), HitRecord()], tmp_path, n_epochs=1, targets=(1.0,), wrapper=wrapper)
    assert batch.poca.xyz.requires_grad


@pytest.mark.parametrize("z_range", [(0.2, 0.8), (0.5, 1.1), (2.0, 2.6)])
def test_d42_layers_are_counted_from_the_top_wherever_the_volume_lies(z_range):
    """D-42: layers were right only with as much space above the volume as below."""
    low, high = z_range
    z = torch.tensor([high - 0.01, high - 0.11, low + 0.11, low + 0.01], dtype=torch.float64)
    assert layer_of(z, z_range, 6).tolist() == [0, 1, 4, 5]
    ends = torch.tensor([low, high], dtype=torch.float64)
    assert layer_of(ends, z_range, 6).tolist() == [5, 0]


def test_d42_table_of_scatters_has_a_layer_in_every_row(tmp_path):
    pytest.importorskip("pandas")
    record = ScatterRecord()
    fit([record], tmp_path, n_epochs=1, targets=(1.0,), wrapper=Scanned())
    table = record.get_record(as_df=True)
    assert list(table.columns) == ["x", "y", "z", "layer"]
    assert set(table["layer"]) <= set(range(5))
    centre = 1.2 - 0.2 * (table["layer"] + 0.5)
    assert (table["z"] - centre).abs().max() <= 0.1 + 1e-9


def test_hits_of_every_panel_are_recorded_for_kept_muons(tmp_path):
    record = HitRecord()
    wrapper = fit([record], tmp_path, n_epochs=1, targets=(1.0,), wrapper=Scanned())
    batch = scatters(wrapper.real)
    hits = record.get_record()
    assert hits.shape == (2 * len(batch), 8, 3)
    heights = [float(p.z.detach()) for q in wrapper.real.get_detectors() for p in q.panels]
    assert hits[0, :, 2].tolist() == heights
    lines, measured = batch.above
    first = lines.offset[0] + measured.depth[1] * lines.slope[0] + measured.residual[0, 1]
    torch.testing.assert_close(hits[0, 1, :2], first.detach())


def test_missing_hits_are_gaps_and_leave_no_row_in_the_table(tmp_path):
    pytest.importorskip("pandas")
    wrapper = Scanned()
    wrapper.real.eval()
    for panel in wrapper.real.get_detectors()[0].panels[:2]:
        panel.xy_span.data.fill_(0.1)
    record = HitRecord()
    fit([record], tmp_path, n_epochs=1, targets=(1.0,), wrapper=wrapper)
    hits, table = record.get_record(), record.get_record(as_df=True)
    missing = int(hits.isnan().any(-1).sum())
    assert missing > 0
    assert len(table) == hits.shape[0] * hits.shape[1] - missing
    assert set(table["layer"]) == set(range(8))
    assert not table.isna().any(axis=None)


@pytest.mark.parametrize("kind", [ScatterRecord, HitRecord])
def test_a_prediction_starts_a_new_record(tmp_path, kind):
    record = kind()
    wrapper = fit([record], tmp_path, n_epochs=2, wrapper=Scanned())
    after_fit = len(record.get_record())
    wrapper.predict(passives(1.0), 10, 5, cbs=[record])
    assert 0 < len(record.get_record()) < after_fit


@pytest.mark.parametrize("kind", [ScatterRecord, HitRecord])
def test_an_empty_record_is_no_error(kind):
    pytest.importorskip("pandas")
    assert kind().get_record().shape[-1] == 3
    assert len(kind().get_record(as_df=True)) == 0


def predicted(record, n_volumes=4, batches=1, per_scan=1):
    """The record of a prediction of some volumes, a few in each scan, and one scan's scatters."""
    wrapper = Scanned()
    batch = scatters(wrapper.real, n_volumes=per_scan)
    record.set_wrapper(wrapper)
    wrapper.fit_params.tst_passives = passives(*range(n_volumes))
    record.on_pred_begin()
    for last in range(per_scan - 1, n_volumes, per_scan):
        for piece in range(batches):
            batch.mu.first = 40 * piece
            wrapper.fit_params.volume_id, wrapper.fit_params.sb = last, batch
            record.on_scatter_end()
    return record, batch


@pytest.mark.parametrize("kind", [ScatterRecord, HitRecord])
@pytest.mark.parametrize(("batches", "per_scan"), [(1, 1), (1, 2), (1, 4), (3, 1)])
def test_the_first_muons_of_each_volume_are_recorded_up_to_the_limit(kind, batches, per_scan):
    record, _ = predicted(kind(max_muons=10), batches=batches, per_scan=per_scan)
    volume, muon = torch.cat(record.numbers).T
    assert volume.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3]
    everything, _ = predicted(kind(), batches=batches, per_scan=per_scan)
    of_all = torch.cat(everything.numbers)
    assert len(of_all.unique(dim=0)) == len(of_all)
    for n in range(4):
        assert torch.equal(muon[volume == n], of_all[of_all[:, 0] == n][:, 1][: 3 if n < 2 else 2])
    first = everything.get_record()[of_all[:, 0] == 1][:3]
    torch.testing.assert_close(record.get_record()[3:6], first, equal_nan=True)


def test_a_volume_with_fewer_muons_than_its_part_leaves_the_others_theirs():
    record, _ = predicted(ScatterRecord(max_muons=400))
    everything, _ = predicted(ScatterRecord())
    assert len(everything.get_record()) < 400
    assert torch.equal(record.get_record(), everything.get_record())


def test_columns_name_the_volume_and_the_muon_of_every_point():
    record, batch = predicted(ScatterRecord(), n_volumes=2, per_scan=2)
    columns = record.columns()
    assert list(columns) == ["x", "y", "z", "layer", "volume", "muon"]
    row = columns["volume"] * 40 + columns["muon"]
    points = torch.stack([columns[name] for name in "xyz"], 1)
    assert torch.equal(points, batch.poca.xyz[row].detach())
    assert set(row.tolist()) == set(batch.valid.nonzero()[batch.get_scatter_mask()][:, 0].tolist())
    assert torch.equal(columns["layer"], layer_of(points[:, 2], (0.2, 1.2), 5))


def test_columns_of_hits_leave_out_what_no_panel_saw():
    record = HitRecord()
    wrapper = Scanned()
    wrapper.real.eval()
    for panel in wrapper.real.get_detectors()[0].panels[:2]:
        panel.xy_span.data.fill_(0.1)
    record.set_wrapper(wrapper)
    wrapper.fit_params.volume_id, wrapper.fit_params.sb = 3, scatters(wrapper.real)
    record.on_scatter_end()
    hits, columns = record.get_record(), record.columns()
    muons = wrapper.fit_params.sb.valid.nonzero()[:, 0].tolist()
    assert 0 < len(columns["x"]) < hits[..., 0].numel()
    for n in range(len(columns["x"])):
        x, y, z, panel, volume, muon = (column[n] for column in columns.values())
        assert volume == 3
        assert torch.equal(hits[muons.index(int(muon)), panel], torch.stack([x, y, z]))


@pytest.mark.parametrize("kind", [ScatterRecord, HitRecord])
def test_an_empty_record_has_all_columns(kind):
    columns = kind().columns()
    assert len(columns) == 6
    assert all(len(values) == 0 for values in columns.values())
