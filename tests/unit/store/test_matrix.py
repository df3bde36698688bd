"""Every kind of thing in a store x every harm: seen each time, made again, never believed or run.

The kinds come from the code: one that has no row here fails.
"""

import ast
import shutil
from pathlib import Path

import pytest

from tests.unit.store.matrix import DATASET, RECORD, SEALED, delete, flip
from tests.unit.store.test_frozen import EXPECTED, FROZEN, spec
from tomopt_tasks.commands.target import find_object
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.plan import KINDS
from tomopt_tasks.stages import _panel_view
from tomopt_tasks.store import DamagedObject, NewerFormat, Ref, open_store
from tomopt_tasks.store.partial import KIND as PARTIAL

PACKAGE = Path(__file__).parents[3] / "tomopt_tasks"
RECORDS = ("checkpoint", "evaluation", "comparison", PARTIAL)
DATASETS = ("volumes", "bank", "predictions")
OTHERS = ("store", "run", "tombstone", "pin")
ROLES = {"record": RECORD, "manifest": DATASET, "dataset": DATASET, **dict.fromkeys(OTHERS, SEALED)}
"""What a header may say that a file is for -> the harms that are tried on it."""


def calls(*names: str):
    """First arguments of the calls of some functions in the package: literals and plain names."""
    texts = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")]
    for text in (text for text in texts if any(f"{name}(" in text for name in names)):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and node.args:
                called = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if called in names:
                    first = node.args[0]
                    yield first.value if isinstance(first, ast.Constant) else ast.unparse(first)


def test_every_kind_and_role_that_the_code_writes_has_its_row():
    written = {
        PARTIAL if kind == "KIND" else kind for kind in calls("put_record", "put_dataset", "draft")
    }
    written.discard("kind")  # put_dataset hands its own on
    assert written | set(KINDS.values()) == {*RECORDS, *DATASETS}
    assert set(calls("seal", "header")) - {"role"} == set(ROLES)
    assert set(EXPECTED["objects"]) == {*RECORDS, *DATASETS}  # so all of them are tried for real
    for harms in ROLES.values():
        assert {*SEALED} <= {*harms}


# ------------------------------------------------------------------ objects


@pytest.fixture
def take(tmp_path):
    """Gives a store with two frozen objects of each of some kinds, so that a case is quick."""

    def taken(*kinds: str):
        target = tmp_path / "deep" / "store"
        target.mkdir(parents=True)
        for kind in kinds:
            for part in sorted({key[:2] for key in EXPECTED["objects"][kind]})[:2]:
                shutil.copytree(FROZEN / kind / part, target / kind / part)
        shutil.copy(FROZEN / "STORE.json", target)
        return open_store(target, create=False)

    return taken


def objects_of(store, kind: str, suffix: str) -> list[Path]:
    return sorted(Path(store.url, kind).glob(f"??/*{suffix}"))


def cases(kinds, harms):
    return [pytest.param(kind, harm, id=f"{kind}-{harm}") for kind in kinds for harm in harms]


def unchanged_outside(tmp_path) -> bool:
    return [path.name for path in tmp_path.iterdir()] == ["deep"] and not any(
        path.name == "canary" for path in tmp_path.rglob("*")
    )


@pytest.mark.parametrize(("kind", "harm"), cases(RECORDS, RECORD) + cases(DATASETS, DATASET))
def test_a_harmed_object_is_seen_never_read_and_made_again(take, tmp_path, kind, harm):
    other = "evaluation" if kind in {"comparison", PARTIAL} else "comparison"
    store = take(kind, other) if kind in RECORDS else take(kind)
    harms, suffix = (RECORD, ".zarr.zip") if kind in RECORDS else (DATASET, ".json")
    file = objects_of(store, kind, suffix)[0]
    neighbour = objects_of(store, other if kind in RECORDS else kind, suffix)[-1]
    key = file.name.partition(".")[0]
    ref = store.find(kind, key)
    content = read(store, ref)
    harms[harm](file, tmp_path / "canary", neighbour)

    found = [looked for looked in open_store(store.url).audit(deep=True) if looked.problem]
    assert (harm == "deleted") == (not found)
    assert not found or str(file.relative_to(store.url)) in [looked.path for looked in found]
    reader = open_store(store.url)
    with pytest.raises(UserError) as caught:  # whoever has the ref already
        read(reader, ref)
    assert "\n" not in str(caught.value)
    if harm == "newer version":
        with pytest.raises(NewerFormat, match="upgrade tomopt"):
            open_store(store.url).find(kind, key)
        assert file.exists()  # left alone for who can read it
    else:
        crafted = open_store(store.url).find(kind, key)
        if harm in {"pickle codec", "shape bomb", "path traversal"} and kind in RECORDS:
            # its digest fits, and nobody looks further before somebody wants to read it
            with pytest.raises(DamagedObject, match="was set aside"):
                read(open_store(store.url), crafted)
            crafted = open_store(store.url).find(kind, key)
        assert crafted is None
        assert write(open_store(store.url), ref, content) == ref
        assert open_store(store.url).find(kind, key) == ref
    assert unchanged_outside(tmp_path)


def read(store, ref):
    if ref.kind in RECORDS:
        return store.get_record(ref)
    opened = store.open_dataset(ref)
    return {name: spec(opened, name) for name in opened.names}, opened.attrs


def write(store, ref, content) -> Ref:
    if ref.kind in RECORDS:
        views = _panel_view(content["row"]) if ref.kind == "checkpoint" else {}
        return store.put_record(ref.kind, ref.key, content, ref.metrics, views)
    return store.put_dataset(ref.kind, ref.key, *content, ref.metrics)


# ------------------------------------------------------------------ what is not an object


def problems(store) -> list[str]:
    return [looked.path for looked in open_store(store.url).audit() if looked.problem]


@pytest.mark.parametrize("harm", SEALED)
def test_a_harmed_mark_is_a_sentence_and_a_store_can_be_marked_anew(take, tmp_path, harm):
    store = take("evaluation")
    mark, (key,) = Path(store.url, "STORE.json"), EXPECTED["objects"]["evaluation"]
    other = next(Path(store.url, "evaluation").glob("??/*"))
    shutil.copy(FROZEN / "STORE.json", tmp_path / "deep" / "kept")
    SEALED[harm](mark, tmp_path / "canary", other)
    with pytest.raises(UserError) as caught:
        open_store(store.url, create=False)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, NewerFormat) == (harm == "newer version")
    mark.unlink(missing_ok=True)
    if harm == "swapped with another":
        other.unlink()  # the mark lies there now
        shutil.copytree(FROZEN / "evaluation", Path(store.url, "evaluation"), dirs_exist_ok=True)
    assert open_store(store.url).find("evaluation", key) is not None
    assert unchanged_outside(tmp_path)


@pytest.mark.parametrize("harm", SEALED)
def test_a_harmed_entry_of_a_run_is_left_out_and_told(take, tmp_path, harm, caplog):
    store = take()
    run = "tiny-1"
    for number in range(3):
        store.append_run(run, {"event": str(number)})
    first, second = (Path(store.url, "runs", run, f"{n:08d}.json") for n in (0, 1))
    SEALED[harm](first, tmp_path / "canary", second)
    assert str(first.relative_to(store.url)) in problems(store)
    if harm == "newer version":
        with pytest.raises(NewerFormat, match="upgrade tomopt"):
            open_store(store.url).read_run(run)
        return
    said = [entry["event"] for entry in open_store(store.url).read_run(run)]
    assert said == (["2"] if harm == "swapped with another" else ["1", "2"])
    assert (harm == "deleted") == ("is left out" not in caplog.text)
    assert open_store(store.url).append_run(run, {"event": "3"}) == 3
    assert unchanged_outside(tmp_path)


@pytest.mark.parametrize("harm", SEALED)
def test_a_harmed_tombstone_gives_no_metrics_and_can_be_made_again(take, tmp_path, harm):
    store = take("checkpoint")
    refs = [store.find("checkpoint", key) for key in store.keys("checkpoint")]
    for ref in refs:
        store.retire(ref)
    one, other = (
        next(Path(store.url, "checkpoint").glob(f"??/{ref.key}.gone.json")) for ref in refs
    )
    SEALED[harm](one, tmp_path / "canary", other)
    found = problems(store)
    assert (str(one.relative_to(store.url)) in found) == (harm != "deleted")
    if harm == "newer version":
        with pytest.raises(NewerFormat, match="upgrade tomopt"):
            store.tombstone("checkpoint", refs[0].key)
        return
    assert store.tombstone("checkpoint", refs[0].key) is None
    store.retire(refs[0])
    assert store.tombstone("checkpoint", refs[0].key) == refs[0]
    assert unchanged_outside(tmp_path)


@pytest.mark.parametrize("harm", SEALED)
def test_a_harmed_pin_still_keeps_its_object_and_is_told(take, tmp_path, harm):
    store = take("evaluation", "comparison")
    named = [(kind, store.keys(kind)[0]) for kind in ("evaluation", "comparison")]
    for name in named:
        store.pin(*name)
    one, other = (Path(store.url, "pins", f"{kind}-{key}.json") for kind, key in named)
    SEALED[harm](one, tmp_path / "canary", other)
    gone = harm == "deleted"  # which is how a pin is taken away
    assert store.pinned() == set(named[1:] if gone else named)
    assert (str(one.relative_to(store.url)) in problems(store)) == (not gone)
    store.pin(*named[0])
    assert str(one.relative_to(store.url)) not in problems(store)
    assert store.pinned() == set(named)
    assert unchanged_outside(tmp_path)


@pytest.mark.parametrize("harm", [delete, flip])
def test_a_report_is_read_by_nobody_and_written_again(take, tmp_path, harm):
    store = take("evaluation")
    page = Path(store.url, "reports", "tiny-1", "report.html")
    page.parent.mkdir(parents=True)
    page.write_text("<html></html>")
    harm(page, tmp_path / "canary", page)
    assert problems(store) == []  # `tomopt report RUN` makes it from what verifies


@pytest.mark.parametrize(
    "name", ["../../canary", "..", "/etc/passwd", "evaluation/../../canary", "a\0b", "", "A" * 64]
)
def test_no_name_leads_out_of_a_store(take, tmp_path, name):
    store, good = take("evaluation"), {"sha256": "0" * 64, "nbytes": 1}
    (key,) = EXPECTED["objects"]["evaluation"]
    for kind, named in ((name, key), ("evaluation", name)):
        with pytest.raises(ValueError, match=r"String should match|kind|key"):
            Ref(kind=kind, key=named, **good)
        crafted = Ref.model_construct(kind=kind, key=named, metrics={}, **good)
        for use in (
            store.get_record, store.open_dataset, store.retire, store.outline, store.modified,
        ):  # fmt: skip
            with pytest.raises(UserError):
                use(crafted)
        for use in (store.find, store.forget, store.pin, store.tombstone):
            with pytest.raises(UserError):
                use(kind, named)
    for use in (store.read_run, lambda run: store.append_run(run, {})):
        if name != "A" * 64:  # which is a run's name as good as any
            with pytest.raises(UserError):
                use(name)
    if name:
        with pytest.raises(UserError):
            find_object(store, name)
    assert unchanged_outside(tmp_path)
