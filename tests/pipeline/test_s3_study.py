"""A whole study in a bucket: interrupted, resumed to the same bits, then read and all cached."""

import shutil
import sys

import pytest

from tests.pipeline.common import TINY, counted, tiny
from tests.unit.store.test_s3 import server, url
from tomopt_tasks import cli
from tomopt_tasks.planning.lookup import look_up
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs import body
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store.opening import open_store

__all__ = ["server", "url"]


def digests(store) -> dict[str, str]:
    return {key: store.find(kind, key).sha256 for kind in store.kinds() for key in store.keys(kind)}


def run(store) -> list[str]:
    """Labels of the stages whose body ran."""
    labels = {stage.key: stage.label for stage in plan_study(tiny())}
    with counted() as ran, begin(tiny(), store) as running:
        run_all(running)
    return [labels[key] for key in ran]


def test_a_study_in_a_bucket_is_interrupted_resumed_cached_and_healed(
    url, finished, tmp_path, monkeypatch, capsys
):
    good = body.bodies()

    def interrupted(store, key, inputs, parents):
        if inputs.epoch == 3:
            raise KeyboardInterrupt
        return good["fit_epoch"](store, key, inputs, parents)

    with monkeypatch.context() as patch:
        patch.setattr(body, "bodies", lambda: {**good, "fit_epoch": interrupted})
        with pytest.raises(KeyboardInterrupt):
            run(open_store(url))
    assert open_store(url).read_run(open_store(url).runs()[0])[-1]["event"] == "interrupted"
    ran = run(open_store(url))
    assert ran[:2] == ["fine epoch 1", "fine epoch 2"]
    assert len(ran) == 2 + 6 + 1
    here = open_store(finished[0])
    assert digests(open_store(url)) == digests(here)
    assert run(open_store(url)) == []

    store = open_store(url)
    steps = look_up(plan_study(tiny()), store, "tiny")
    lost = next(step for step in steps if step.stage.label == "fit on test")
    chunk = next(p for p in store.backend.listing("predictions") if lost.stage.key in p)
    store.backend.delete(chunk)
    assert run(open_store(url)) == ["fit on test"]
    assert digests(open_store(url)) == digests(here)

    monkeypatch.chdir(tmp_path)  # where the report of a bucket lies
    monkeypatch.setattr("tomopt_tasks.reports.page.render_html", lambda data: "<html>")
    for words in (("plan", str(TINY)), ("verify", "--deep"), ("status",), ("report", "tiny")):
        monkeypatch.setattr(sys, "argv", ["tomopt", *words, "--store", url])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
    said = capsys.readouterr().out
    assert "all 19 are stored" in said
    assert "finished" in said
    assert (tmp_path / ".tomopt" / "reports").is_dir()
    shutil.rmtree(tmp_path / ".tomopt")
