"""Grids of the user's own: npz and CSV give the same objects, and what is wrong is said."""

import csv

import numpy as np
import pytest

from tomopt_tasks.core import UserError
from tomopt_tasks.materials import X0
from tomopt_tasks.rng import stream
from tomopt_tasks.volume.grid_files import check_grids, read_grids
from tomopt_tasks.volume.scene_settings import FileSceneSettings
from tomopt_tasks.volume.settings import World

WORLD = World(size=(0.3, 0.2), passive=(0.25, 0.65), voxel=0.1, height=1.0)
SHAPE = (2, *WORLD.shape)
LENGTHS = np.linspace(0.02, 0.5, 48).reshape(SHAPE)  # every voxel another one


def rows(x0=LENGTHS, **more):
    """A row a voxel, in cm, shuffled; ``more`` are columns of one entry a volume."""
    order = np.argsort(np.array([stream(1, "row", i).initial_seed() for i in range(x0.size)]))
    number, z, x, y = (index[order] for index in np.unravel_index(np.arange(x0.size), x0.shape))
    columns = {"volume": number, "x [cm]": 10 * x + 5, "y [mm]": 100 * y + 50, "z [m]": 0.1 * z}
    columns["z [m]"] = columns["z [m]"] + 0.30
    columns["x0 [cm]"] = 100 * x0.ravel()[order]
    return columns | {name: np.array(values)[number] for name, values in more.items()}


def write(columns, file):
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(columns)
        writer.writerows(zip(*(list(c) for c in columns.values()), strict=True))
    return file


@pytest.mark.parametrize("target", [None, (0.4, 0.6)])
def test_csv_and_npz_give_the_same_grids(tmp_path, target):
    more = {} if target is None else {"target [cm]": [100 * value for value in target]}
    table = read_grids(write(rows(**more), tmp_path / "a.csv"))
    check_grids(table, WORLD)
    np.savez(tmp_path / "a.npz", **{"x0 [mm]": 1000 * LENGTHS}, **more)
    arrays = read_grids(tmp_path / "a.npz")
    np.testing.assert_allclose(table.x0, LENGTHS, rtol=1e-12)
    np.testing.assert_allclose(arrays.x0, LENGTHS, rtol=1e-12)
    for grids in (table, arrays):
        if target is None:
            assert grids.target is None
        else:
            np.testing.assert_allclose(grids.target, target, rtol=1e-12)


def test_one_grid_in_metres_and_grids_of_materials(tmp_path):
    np.savez(tmp_path / "a.npz", x0=LENGTHS[0])
    assert np.array_equal(read_grids(tmp_path / "a.npz").x0, LENGTHS[:1])
    names = np.full(WORLD.shape, "lead")
    names[0] = "iron"
    np.savez(tmp_path / "b.npz", material=names)
    expected = np.where(names == "lead", X0["lead"], X0["iron"])
    assert np.array_equal(read_grids(tmp_path / "b.npz").x0[0], expected)
    columns = rows(LENGTHS[:1])
    del columns["volume"], columns["x0 [cm]"]
    columns["material"] = np.full(24, " lead")
    assert (read_grids(write(columns, tmp_path / "c.csv")).x0 == X0["lead"]).all()


def broken(**changes):
    columns = rows(target=(1.0, 2.0))
    for name, value in changes.items():
        key = next(key for key in columns if key.split(" ")[0] == name)
        if value is None:
            del columns[key]
        elif isinstance(value, str):
            columns = {value if k == key else k: v for k, v in columns.items()}
        else:
            columns[key] = np.array(columns[key], dtype=float)
            columns[key][7] = value
    return columns


BAD_TABLES = {
    "hole": ({"x": 15.0}, "2 voxels do not have exactly one row; the first is that at z = "),
    "no column": ({"z": None}, "the column 'z' is missing; add it, headed 'z \\[cm\\]'"),
    "no unit": ({"x0": "x0"}, "the header 'x0' has no unit; write 'x0 \\[cm\\]'"),
    "no length": ({"y": "y [s]"}, "'y \\[s\\]' has a unit that is not a length"),
    "neither": ({"x0": None}, "has neither x0 nor material"),
    "negative": ({"x0": -1.0}, "must be > 0 m; use inf for vacuum"),
    "nan": ({"x0": np.nan}, "must be > 0 m; use inf for vacuum"),
    "part of a volume": ({"volume": 0.5}, "volume is not a whole number from 0"),
    "no place": ({"z": np.inf}, "z is not a finite number in every row"),
    "two targets": ({"target": 5.0}, "target differs between the rows of one volume"),
    "twice": ({"volume": "x0 [m]"}, "'x0' is there twice"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_a_bad_table_ends_in_a_sentence(tmp_path, case):
    changes, says = BAD_TABLES[case]
    with pytest.raises(UserError, match=says):
        read_grids(write(broken(**changes), tmp_path / "bad.csv"))


BAD_ARRAYS = {
    "both": ({"x0": LENGTHS, "material": np.full(SHAPE, "lead")}, "has both x0 and material"),
    "unknown material": ({"material": np.full(SHAPE, "leed")}, "'leed' is not known; use one of"),
    "flat": ({"x0": LENGTHS[0, 0]}, r"shape \(3, 2\), but grids are \(z, x, y\) or"),
    "empty": ({"x0": LENGTHS[:0]}, "but grids are"),
    "words": ({"x0": np.full(SHAPE, "lead")}, "does not hold numbers"),
    "targets": ({"x0": LENGTHS, "target": np.ones(3)}, "one number for each of the 2 volumes"),
    "no target": ({"x0": LENGTHS, "target": np.full(2, np.nan)}, "target is not a finite number"),
    "objects": ({"x0": np.array([None, {}])}, "is no npz file with the array x0 or material"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_a_bad_archive_ends_in_a_sentence(tmp_path, case):
    arrays, says = BAD_ARRAYS[case]
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(UserError, match=says):
        read_grids(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.txt", "", "a file of voxel grids is .npz or .csv"),
        ("none.csv", None, "no such file"),
        ("a.csv", "", "got 0 headers and 0 rows"),
        ("a.csv", "x [m],y [m]\n1,2,3\n", "got 2 headers and 1 rows"),
        ("a.npz", "x0", "is no npz file"),
    ],
)
def test_a_file_that_is_none_ends_in_a_sentence(tmp_path, name, text, says):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says):
        read_grids(tmp_path / name)


def test_grids_of_another_world_are_refused(tmp_path):
    grids = read_grids(write(rows(), tmp_path / "a.csv"))
    with pytest.raises(UserError, match=r"\(4, 3, 2\) voxels along .* but the world has \(5, 3, 2"):
        check_grids(grids, World(size=(0.3, 0.2), passive=(0.25, 0.75), voxel=0.1, height=1.0))
    moved = World(size=(0.3, 0.2), passive=(0.35, 0.75), voxel=0.1, height=1.0)
    with pytest.raises(
        UserError, match=r"centres from z = 0\.3 to 0\.6 m, .* go from 0\.4 to 0\.7"
    ):
        check_grids(grids, moved)


def test_a_key_knows_a_file_by_its_digest_or_else_by_its_name():
    named, other = (FileSceneSettings(file=name) for name in ("a.npz", "b.npz"))
    key = {"context": {"key": True}}
    assert named.model_dump(**key) != other.model_dump(**key)
    digest = {"sha256": "0" * 64}
    known = [scene.model_copy(update=digest).model_dump(**key) for scene in (named, other)]
    assert known[0] == known[1]
