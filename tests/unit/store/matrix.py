"""Ways to harm what a store holds, with digests that fit where somebody has bad intentions."""

import hashlib
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

from tomopt_tasks.store.formats import canonical, digest
from tomopt_tasks.store.records import COMMENT, TAIL

CODECS = [{"name": "bytes"}, {"name": "numcodecs.pickle", "configuration": {}}]
HUGE = [10**13]


class Canary:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def delete(file: Path, canary: Path, other: Path) -> None:
    file.unlink()


def truncate(file: Path, canary: Path, other: Path) -> None:
    file.write_bytes(file.read_bytes()[:-5])


def flip(file: Path, canary: Path, other: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(bytes(data))


def swap(file: Path, canary: Path, other: Path) -> None:
    one, two = file.read_bytes(), other.read_bytes()
    assert one != two
    file.write_bytes(two)
    other.write_bytes(one)


def pickled(file: Path, canary: Path, other: Path) -> None:
    file.write_bytes(pickle.dumps(Canary(canary)))


def deep(file: Path, canary: Path, other: Path) -> None:
    """A bomb for whoever parses JSON."""
    file.write_bytes(b"[" * 100_000)


# ------------------------------------------------------------------ sealed files


def resealed(file: Path, change: Callable[[dict], None]) -> None:
    sealed = json.loads(file.read_bytes())
    del sealed["sha256"]
    change(sealed)
    sealed["sha256"] = digest(canonical(sealed))
    file.write_bytes(canonical(sealed))


def newer(file: Path, canary: Path, other: Path) -> None:
    resealed(file, lambda sealed: sealed.update(version="9.0"))


def unversioned(file: Path, canary: Path, other: Path) -> None:
    resealed(file, lambda sealed: sealed.update(version="one"))


def traversing(file: Path, canary: Path, other: Path) -> None:
    """Whatever names an object or a place names one outside of the store."""

    def change(sealed):
        sealed.update({name: "../../canary" for name in ("run", "entry") if name in sealed})
        body = sealed["body"]
        body.update({name: "../../canary" for name in ("kind", "key", "attempt") if name in body})
        body.get("ref", {}).update(kind="../..", key="canary")
        sealed["role"] = sealed["role"] if body.keys() & {"ref", "attempt", "kind"} else "../canary"

    resealed(file, change)


def listing_outside(file: Path, canary: Path, other: Path) -> None:
    """A manifest that lists a file outside of its prefix."""
    outside = {"../../../../../canary": [1, "0" * 64]}
    resealed(file, lambda sealed: sealed["body"]["objects"].update(outside))


# ------------------------------------------------------------------ records


def repacked(file: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Change the entries of a record and make its digest fit again."""
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), entries[name])
        archive.comment = bytes(TAIL)
    body = file.read_bytes()[:-TAIL]
    file.write_bytes(body + COMMENT + digest(body).encode())


def edited(name: str, **fields: object) -> Callable[[dict[str, bytes]], None]:
    return lambda entries: entries.update({name: canonical(json.loads(entries[name]) | fields)})


def versioned(version: str) -> Callable[[dict[str, bytes]], None]:
    def change(entries):
        root = json.loads(entries["zarr.json"])
        root["attributes"]["store"]["version"] = version
        entries["zarr.json"] = canonical(root)

    return change


def on_record(change: Callable[[dict[str, bytes]], None]):
    return lambda file, canary, other: repacked(file, change)


def outside(entries: dict[str, bytes]) -> None:
    entries["../../../canary"] = b"x"


RECORD = {
    "deleted": delete,
    "truncated": truncate,
    "one flipped bit": flip,
    "swapped with another": swap,
    "newer version": on_record(versioned("9.0")),
    "no version": on_record(versioned("one")),
    "pickle instead": pickled,
    "pickle codec": on_record(edited("skeleton/zarr.json", codecs=CODECS)),
    "shape bomb": on_record(edited("skeleton/zarr.json", shape=HUGE)),
    "path traversal": on_record(outside),
}

# ------------------------------------------------------------------ datasets


def array_of(file: Path) -> tuple[str, Path]:
    """The first array that a manifest lists, and the file with its metadata."""
    body = json.loads(file.read_bytes())["body"]
    name = min(name for name in body["objects"] if name.endswith("/zarr.json"))
    return name, file.with_suffix("") / body["attempt"] / name


def on_array(**fields: object):
    """Change the metadata of an array, and make the manifest fit again."""

    def harm(file: Path, canary: Path, other: Path) -> None:
        name, path = array_of(file)
        path.write_bytes(canonical(json.loads(path.read_bytes()) | fields))
        data = path.read_bytes()
        entry = [len(data), hashlib.sha256(data).hexdigest()]
        resealed(file, lambda sealed: sealed["body"]["objects"].update({name: entry}))

    return harm


def inside(harm, name: str):
    """The same harm to a file of the data, of which the manifest knows nothing."""

    def harmed(file: Path, canary: Path, other: Path) -> None:
        one, two = (
            min(each.with_suffix("").rglob(f"{name}*"), key=lambda path: (len(path.parts), path))
            for each in (file, other)
        )
        harm(one, canary, two)

    return harmed


DATASET = {
    "deleted": delete,
    "truncated": truncate,
    "one flipped bit": flip,
    "swapped with another": swap,
    "newer version": newer,
    "no version": unversioned,
    "pickle instead": pickled,
    "pickle codec": on_array(codecs=CODECS),
    "shape bomb": on_array(shape=HUGE),
    "path traversal": traversing,
    "listing outside": listing_outside,
    "chunk deleted": inside(delete, "c."),
    "chunk truncated": inside(truncate, "c."),
    "chunk flipped": inside(flip, "c."),
    "metadata swapped": inside(swap, "zarr.json"),
    "metadata pickled": inside(pickled, "zarr.json"),
}
SEALED = {
    "deleted": delete,
    "truncated": truncate,
    "one flipped bit": flip,
    "swapped with another": swap,
    "newer version": newer,
    "no version": unversioned,
    "pickle instead": pickled,
    "shape bomb": deep,
    "path traversal": traversing,
}
