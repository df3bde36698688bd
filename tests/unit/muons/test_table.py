"""Muons from the user's own tables: the same bank, whatever format, units and planes they use."""

from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch

from tomopt_tasks.core import UserError
from tomopt_tasks.input_files import file_digest
from tomopt_tasks.muons.settings import MuonSettings, TableFile, TableSettings
from tomopt_tasks.muons.source import generation_rate
from tomopt_tasks.muons.table import read_muon_table
from tomopt_tasks.rng import stream
from tomopt_tasks.scattering.settings import HighlandSettings
from tomopt_tasks.transport.bank import COLUMNS, transport
from tomopt_tasks.volume.settings import World

WORLD = World(size=(0.4, 0.3), passive=(0.2, 0.5), voxel=0.1, height=0.8)
FLUX = MuonSettings(per_volume=50)


@pytest.fixture(scope="module")
def x0():
    grid = torch.full((3, *WORLD.shape), float("inf"), dtype=torch.float64)
    grid[1, 1:, 1:3, 1:] = 0.0056
    grid[2] = 0.02
    return grid


@pytest.fixture(scope="module")
def bank(x0):
    state, _ = transport(x0, WORLD, FLUX, HighlandSettings(), 1, "test")
    return state


def as_table(state, *, up=0.0, down=0.0, length="m", momentum="GeV", behind=True, world=WORLD):
    """A bank as a user writes it: other planes, units and lengths of the directions."""
    metre, gev = {"m": 1.0, "mm": 1e-3}[length], {"GeV": 1.0, "MeV": 1e-3}[momentum]
    c = dict(zip(COLUMNS, state.flatten(0, 1).numpy().T, strict=True))
    table = {"volume": np.repeat(np.arange(len(state)), state.shape[1])}
    low, high = world.passive
    for side, z, depth in (("in", high + up, -up), ("out", low - down, down)):
        if side == "out" and not behind:
            continue
        tan_x, tan_y = c[f"tan_x_{side}"], c[f"tan_y_{side}"]
        table[f"x_{side} [{length}]"] = (c[f"x_{side}"] + depth * tan_x) / metre
        table[f"y_{side} [{length}]"] = (c[f"y_{side}"] + depth * tan_y) / metre
        table[f"z_{side} [{length}]"] = np.full_like(tan_x, z / metre)
        table |= {f"dx_{side}": 2 * tan_x, f"dy_{side}": 2 * tan_y}
        table[f"dz_{side}"] = np.full_like(tan_x, -2.0)
    return table | {f"p [{momentum}]": c["momentum"] / gev}


def write(table, file: Path):
    if file.suffix == ".npz":
        np.savez(file, **table)
    elif file.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table(table), file)
    else:
        rows = np.stack(list(table.values()), 1)
        np.savetxt(file, rows, "%.17g", ",", header=",".join(table), comments="")
    return file


def source(file, per_volume=50, **settings):
    entry = TableFile(file=str(file), sha256=file_digest(file))
    return MuonSettings(
        source=TableSettings(rate=10.0, test=entry), per_volume=per_volume, **settings
    )


@pytest.mark.parametrize("ending", ["csv", "parquet", "npz"])
def test_a_bank_comes_back_from_any_format_plane_and_unit(tmp_path, x0, bank, ending):
    table = as_table(bank, up=0.25, down=0.1, length="mm", momentum="MeV")
    file = write(table, tmp_path / f"muons.{ending}")
    state, generated = transport(x0, WORLD, source(file), HighlandSettings(), 1, "test")
    torch.testing.assert_close(state, bank, rtol=0, atol=1e-12)
    assert generated.tolist() == [50, 50, 50]


def test_incident_muons_scatter_in_the_objects_of_the_study(tmp_path, x0, bank):
    file = write(as_table(bank, behind=False), tmp_path / "muons.npz")
    state, _ = transport(x0, WORLD, source(file), HighlandSettings(), 1, "test")
    torch.testing.assert_close(state, bank, rtol=0, atol=1e-12)
    empty = torch.full_like(x0, torch.inf)
    straight, _ = transport(empty, WORLD, source(file), HighlandSettings(), 1, "test")
    assert (straight[1] - bank[1]).abs().max() > 1e-3


def test_a_part_of_the_volumes_finds_its_own_rows(tmp_path, x0, bank):
    table = as_table(bank)
    shuffled = torch.randperm(150, generator=stream(1, "rows")).numpy()
    file = write({k: v[shuffled] for k, v in table.items()}, tmp_path / "muons.npz")
    whole, _ = transport(x0, WORLD, source(file), HighlandSettings(), 1, "test")
    part, _ = transport(x0[2:], WORLD, source(file), HighlandSettings(), 1, "test", first_volume=2)
    assert torch.equal(part[0], whole[2])
    assert sorted(part[0, :, 0].tolist()) == pytest.approx(sorted(bank[2, :, 0].tolist()))


def test_lost_and_missing_muons_are_time_and_exposures_follow_each_other(tmp_path, x0, bank):
    table = as_table(bank)
    table["x_in [m]"][3] = 9.0  # misses the volume
    for name in ("x_out [m]", "dz_out"):
        table[name][5] = np.nan  # stopped in it
    table["dz_out"][7] = 2.0  # comes out upwards
    file = write(table, tmp_path / "muons.csv")
    settings = source(file, per_volume=20)
    first, passed = transport(x0, WORLD, settings, HighlandSettings(), 1, "test")
    assert torch.equal(first[0], bank[0, [*range(3), 4, 6, *range(8, 23)]])
    assert passed.tolist() == [23, 20, 20]
    second, passed = transport(x0, WORLD, settings, HighlandSettings(), 1, "test", 1)
    assert torch.equal(second[0], bank[0, 23:43])
    assert passed.tolist() == [20, 20, 20]
    assert generation_rate(settings, WORLD) == 10.0
    far, _ = transport(x0, WORLD, source(file, 20, aim=False), HighlandSettings(), 1, "test")
    assert far[0, 3, 0] == 9.0
    with pytest.raises(UserError, match=r"volume 0 has 50 muons, of which 47 can be used, but exp"):
        transport(x0, WORLD, settings, HighlandSettings(), 1, "test", 2)


def test_a_file_that_changed_since_the_plan_is_refused(tmp_path, x0, bank):
    file = write(as_table(bank), tmp_path / "muons.npz")
    settings = source(file)
    table = as_table(bank)
    table["x_in [m]"][0] += 0.01
    write(table, file)
    with pytest.raises(UserError, match=r"muons.npz has changed since this was planned; run"):
        transport(x0, WORLD, settings, HighlandSettings(), 1, "test")


def test_objects_outside_the_study_have_no_table(tmp_path, x0, bank):
    settings = source(write(as_table(bank), tmp_path / "muons.npz"))
    for split, says in (("train", r"name one at muons\.source\.train"), ("object", "from a flux")):
        with pytest.raises(UserError, match=says):
            transport(x0, WORLD, settings, HighlandSettings(), 1, split)


def without(name):
    return lambda table: {key: column for key, column in table.items() if key != name}


def with_(name, value, row=4):
    def change(table):
        column = np.array(table[name], dtype=float)
        column[row] = value
        return {**table, name: column}

    return change


def renamed(old, new):
    return lambda table: {new if key == old else key: column for key, column in table.items()}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without("y_in [m]"), r"column 'y_in' is missing; add it, headed 'y_in \[mm\]'"),
        (without("dz_out"), r"column 'dz_out' is missing; add it, headed 'dz_out'"),
        (without("volume"), r"column 'volume' is missing"),
        (renamed("p [GeV]", "p"), r"header 'p' has no unit; write, for example, p \[MeV\]"),
        (renamed("x_in [m]", "x_in [kg]"), r"unit 'kg', which is not in m; write"),
        (with_("p [GeV]", -1.0), r"row 5: p is not > 0; correct the table"),
        (with_("x_in [m]", np.nan), r"row 5: x_in is not a finite number"),
        (with_("volume", 0.5), r"row 5: volume is not a whole number from 0"),
        (with_("dz_in", 1.0), r"row 5: dz_in is not < 0: z points up"),
        (
            lambda t: {**t, "event": np.zeros(len(t["volume"]))},
            r"row 2: event stands twice in one volume \(146 more",
        ),
        (with_("z_in [m]", 0.3), r"row 5: z_in is below the top \(0\.5 m\)"),
        (with_("z_out [m]", 0.3), r"row 5: z_out is above the bottom \(0\.2 m\)"),
        (lambda t: {key: column[:0] for key, column in t.items()}, r"columns have \[0\] rows"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_wrong_table_ends_in_one_sentence(tmp_path, x0, bank, change, says):
    file = write(change(as_table(bank)), tmp_path / "muons.npz")
    with pytest.raises(UserError, match=says):
        transport(x0, WORLD, source(file), HighlandSettings(), 1, "test")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("muons.root", b"root", r"\.csv, \.parquet or \.npz; convert it"),
        ("muons.npz", b"PK no", r"is no table that can be read"),
        ("muons.parquet", b"PAR1", r"is no table that can be read"),
        ("muons.csv", b"x_in [mm],p [GeV]\n1,2\n3\n", r"is no table that can be read"),
        ("muons.csv", b"a,b\n1,x\n", r"is no table that can be read"),
        ("muons.csv", b"a,b\n1,2,3\n", r"2 headers over 3 columns"),
        ("muons.npz", None, r"no such file"),
    ],
    ids=str,
)
def test_a_file_that_is_no_table_is_named(tmp_path, name, content, says):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=says):
        read_muon_table(file)
