"""Files for people are whole, whoever else writes them at the same time."""

from pathlib import Path

import pytest

from tomopt_tasks.runs.outputs import replace_file


def test_two_that_write_one_file_at_once_both_succeed(tmp_path, monkeypatch):
    file, replace = tmp_path / "report.html", Path.replace

    def meanwhile(draft, target):
        monkeypatch.setattr(Path, "replace", replace)
        replace_file(file, "the other's")
        return replace(draft, target)

    monkeypatch.setattr(Path, "replace", meanwhile)
    replace_file(file, "mine")
    assert file.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch):
    file = tmp_path / "report.html"
    replace_file(file, b"old")

    def full(draft, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(file, "new")
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
