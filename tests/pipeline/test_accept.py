"""What a change of code does to stored results, and how results of older code are marked."""

import re
from pathlib import Path

import pytest

from tests.pipeline.common import changed, counted, tiny
from tomopt_tasks.caching import closure
from tomopt_tasks.commands.plan import plan as plan_command
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.reports.markdown import render_markdown
from tomopt_tasks.reports.page import render_html
from tomopt_tasks.runs.command import result
from tomopt_tasks.runs.outputs import write_report
from tomopt_tasks.runs.results import results_of
from tomopt_tasks.runs.run import Request, begin, run_all

ACCEPT = Request(accept_code=True)
FILE = "tomopt_tasks/wrapper/loop.py"


@pytest.fixture
def upgraded(monkeypatch, tmp_path):
    """As if a file had been edited since the store was filled: the real digests of a changed copy.

    Gives a function that takes the file and what to replace in it.
    """

    def upgrade(file: str, old: str, new: str) -> None:
        import shutil  # noqa: PLC0415

        root = Path(closure.__file__).parents[1]
        copy = tmp_path / "edited" / root.name
        if not copy.exists():
            shutil.copytree(root, copy, ignore=shutil.ignore_patterns("__pycache__"))
        path = copy.parent / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")
        sources = closure.Sources(copy)
        monkeypatch.setattr(closure, "package_sources", lambda: sources)
        for cached in (closure.code_digest, closure.code_parts):
            cached.cache_clear()

    yield upgrade
    for cached in (closure.code_digest, closure.code_parts):
        cached.cache_clear()


def edit_loop(upgraded) -> None:
    upgraded(FILE, "fit.n_skipped += 1", "fit.n_skipped = fit.n_skipped + 1")


def run(study, store, request: Request = ACCEPT) -> tuple[str, list[str]]:
    """Id of the run, and labels of the stages whose body ran."""
    with counted() as ran, begin(study, store, request=request) as running:
        run_all(running)
    labels = {step.stage.key: step.stage.label for step in running.steps}
    return running.id, [labels[key] for key in ran]


def rows(study, store, **asked) -> dict[str, dict]:
    data = plan_command(study, store, Request(**asked)).data
    return {row["label"]: row for row in data["stages"]}


def test_the_plan_names_the_file_that_changed_and_only_what_runs_it(store, upgraded):
    edit_loop(upgraded)
    planned = rows(tiny(), store)
    runs = {label for label, row in planned.items() if row["status"] == "will run"}
    kept = {label for label in planned if label.endswith(("volumes", "bank"))}
    assert runs == planned.keys() - kept - {"start of the fit"}
    assert planned["coarse epoch 1"]["reason"] == f"code: {FILE}"
    assert planned["baseline_1 on test"]["reason"] == f"code: {FILE}"
    assert planned["evaluation"]["reason"].startswith("follows ")


def test_accepted_results_of_older_code_are_hits_that_say_so(store, upgraded):
    edit_loop(upgraded)
    planned = rows(tiny(), store, accept_code=True)
    assert {row["status"] for row in planned.values()} == {"cached"}
    assert planned["fine epoch 2"]["reason"] == f"made by older code: {FILE}"
    assert planned["fine epoch 2"]["older_code"]
    assert not planned["train bank"]["older_code"]
    assert run(tiny(), store)[1] == []


def test_without_a_change_accepting_changes_nothing(store):
    before = [row["key"] for row in rows(tiny(), store).values()]
    after = [row["key"] for row in rows(tiny(), store, accept_code=True).values()]
    assert before == after


def test_a_half_finished_fit_goes_on_under_new_code_with_keys_of_its_own(store, upgraded):
    longer = changed(("fit.phases[1].epochs", "3"))
    old = {stage.label: stage.key for stage in plan_study(longer)}
    edit_loop(upgraded)
    new = {stage.label: stage.key for stage in plan_study(longer)}
    _, ran = run(longer, store)
    assert ran == ["fine epoch 3", "fit on valid", "fit on test", "evaluation"]
    made = set(store.keys("checkpoint"))
    assert old["fine epoch 2"] in made  # what was accepted keeps its name
    assert not {old["fine epoch 3"], new["fine epoch 3"]} & made  # half old, half new: a third name
    assert run(longer, store)[1] == []


def test_other_settings_are_never_accepted(store, upgraded):
    edit_loop(upgraded)
    other = changed(("fit.phases[1].freeze", "[xy, z]"))
    planned = rows(other, store, accept_code=True)
    runs = {label for label, row in planned.items() if row["status"] == "will run"}
    assert runs == {"fine epoch 1", "fine epoch 2", "fit on valid", "fit on test", "evaluation"}


def marked(text: str) -> set[str]:
    return set(re.findall(r"(initial|optimised|baseline 1) †", text))


@pytest.mark.parametrize(
    ("file", "old", "new", "designs"),
    [
        (FILE, "fit.n_skipped += 1", "fit.n_skipped = 1 + fit.n_skipped",
         {"initial", "optimised", "baseline 1"}),
        ("tomopt_tasks/callbacks/detector.py", "class PanelUpdateLimiter(Callback):\n",
         "class PanelUpdateLimiter(Callback):\n    version = 2\n", {"optimised"}),
    ],
)  # fmt: skip
def test_every_table_marks_the_designs_that_hang_on_older_code(
    store, upgraded, file, old, new, designs
):
    upgraded(file, old, new)
    name, ran = run(changed(("evaluation.bootstrap", "120")), store)
    assert ran == ["evaluation"]
    data = results_of(store, name)
    lines = result(write_report(store, name)).lines
    for text in ("\n".join(lines), render_markdown(data), render_html(data)):
        assert marked(text) == designs
        assert "--accept-code-changes" in text


def test_an_undisturbed_run_marks_nothing(store):
    (name,) = store.runs()
    data = results_of(store, name)
    assert data.older_code == ()
    assert "†" not in render_html(data) + render_markdown(data)


def test_a_run_under_new_code_alone_owes_nothing_to_the_old_one(store, upgraded):
    edit_loop(upgraded)
    name, ran = run(tiny(), store, Request())
    assert "coarse search 1" in ran
    assert results_of(store, name).older_code == ()


def test_a_comment_or_a_docstring_changes_no_key(upgraded):
    before = [stage.key for stage in plan_study(tiny())]
    upgraded(FILE, '"""One epoch:', '"""Just one epoch:')
    upgraded(FILE, "fit.n_skipped += 1", "fit.n_skipped += 1  # none was accepted")
    assert [stage.key for stage in plan_study(tiny())] == before
    edit_loop(upgraded)
    assert [stage.key for stage in plan_study(tiny())] != before
