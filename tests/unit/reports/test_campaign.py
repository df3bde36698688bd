"""A campaign's words, tables and page say what the record says."""

import csv
import io
from dataclasses import replace
from functools import cache

import pytest
import torch

from tests.unit.reports.report_example import STUDY, history, predictions
from tomopt_tasks.config.campaign import Goal
from tomopt_tasks.evaluation.compare import Entry, compare
from tomopt_tasks.evaluation.settings import EvaluationSettings
from tomopt_tasks.reports.campaign_data import CampaignData, TableData, entry_label, module_offsets
from tomopt_tasks.reports.campaign_figures import exposure_record, looks_of
from tomopt_tasks.reports.campaign_goals import goal_rows
from tomopt_tasks.reports.campaign_markdown import render_campaign_markdown
from tomopt_tasks.reports.campaign_page import _comparison, render_campaign
from tomopt_tasks.reports.campaign_pictures import campaign_pictures
from tomopt_tasks.reports.campaign_table import (
    board_table,
    campaign_csv,
    member_rows,
    tie_words,
    ties,
    without_ties,
)
from tomopt_tasks.reports.campaign_words import campaign_headline, campaign_verdict
from tomopt_tasks.reports.exposure import exposure_figure
from tomopt_tasks.reports.search_data import SearchData, TrialRow, Versus
from tomopt_tasks.rng import stream


def seed(bank, number):
    """The fit of another seed: a little more noise of its own."""
    found = predictions(bank, "fit")
    noise = torch.randn(
        found.truth.size, generator=stream(5, bank, number), dtype=torch.float64
    ).numpy()
    return replace(found, prediction=found.prediction + 0.002 * noise)


@cache
def table(label="b", n_seeds=3):
    banks = ("valid", "test")
    entries = {
        "start": Entry({"-": tuple(predictions(bank, "start") for bank in banks)}),
        "fit": Entry(
            {str(i): tuple(seed(bank, i) for bank in banks) for i in range(1, n_seeds + 1)}
        ),
    }
    for name in ("baseline_1", "baseline_2"):
        entries[name] = Entry({"-": tuple(predictions(b, name) for b in banks)}, baseline=True)
    record = compare(entries, EvaluationSettings(bootstrap=500))
    places = [("fit", str(i)) for i in range(1, n_seeds + 1)]
    data = TableData(
        label=label,
        study=STUDY,
        record=record,
        members={p: {"member": p[1], "run": f"r{p[1]}", "fit_seconds": 50.0} for p in places},
        histories={place: history() for place in places},
    )
    shown = {
        name: entries[entry].repeats[repeat][1] for name, (entry, repeat) in data.shown.items()
    }
    return replace(data, predictions=shown)


def campaign(*labels, **more):
    tables = [table(label) for label in labels or ("b",)]
    command = "tomopt campaign run c.yaml"
    return CampaignData("Title & more", "test", tables, n_members=3, command=command, **more)


@cache
def page_of(*labels):
    return render_campaign(campaign(*labels))


def test_names_of_entries_are_read_aloud():
    assert entry_label("fit") == "optimised"
    assert entry_label("fit 4 m2, adam") == "optimised, 4 m2, adam"
    assert entry_label("baseline_2") == "baseline 2"


def test_the_distance_of_a_module_is_that_of_its_mean_centre():
    panels = [
        {"pos": "above", "xy": [0.5, 0.4]},
        {"pos": "above", "xy": [0.5, 0.6]},
        {"pos": "below", "xy": [0.53, 0.46]},
    ]
    offsets = module_offsets(panels, (0.5, 0.5))
    assert offsets == pytest.approx({"above": 0.0, "below": 0.05})


def test_the_leaderboard_goes_from_best_to_worst_with_the_reference_at_one():
    rows = board_table(table())
    assert [row["design"] for row in rows] == ["optimised", "baseline 1", "baseline 2", "initial"]
    assert rows[1]["MSE ratio"] == "1"
    assert rows[0]["seeds"] == "3"
    assert rows[0]["seeds that beat it"] == f"{table().record['entries']['fit']['wins']} of 3"
    assert rows[0]["time of a fit"] == "50 s"
    assert rows[0]["same error in"].endswith("of 13 s")


def test_a_tie_says_what_would_separate_it():
    row = {"name": "fit", "leader": "baseline_2", "more_seeds": 6, "more_volumes": None}
    assert tie_words(row) == "with baseline 2; about 6 more seeds would tell"
    row |= {"more_seeds": None, "more_volumes": 120}
    assert tie_words(row).endswith("more seeds would not tell; about 120 more volumes would")
    row |= {"more_volumes": None}
    assert tie_words(row).endswith("neither more seeds nor more volumes alone would tell")


def test_the_export_holds_every_seed_in_full():
    rows = list(csv.DictReader(io.StringIO(campaign_csv([table("a"), table("b")]))))
    assert len(rows) == 2 * 6
    fit = [row for row in rows if row["table"] == "b" and row["entry"] == "fit"]
    record = table().record["entries"]["fit"]["repeats"]
    assert [float(row["mse"]) for row in fit] == [each["mse"] for each in record]
    assert [row["run"] for row in fit] == ["r1", "r2", "r3"]
    assert len(member_rows(table())) == 6


def test_goals_are_judged_one_by_one():
    goal = Goal(ratio=0.9, suspect=0.1, wins=3, off_centre=0.001, fit=60.0).model_dump()
    rows = {row["goal"]: row["result"] for row in goal_rows(table(), goal)}
    assert rows == {
        "MSE ratio": "reached",
        "95 % interval": "reached",
        "plausible": "reached",
        "seeds that win": "reached",
        "modules off centre": "MISSED",
        "mean time of a fit": "reached",
    }
    missed = Goal(ratio=0.1, suspect=0.9, wins=4).model_dump()
    results = [row["result"] for row in goal_rows(table(), missed)]
    assert results == ["MISSED", "reached", "MISSED", "MISSED"]


def test_a_design_that_hangs_on_older_code_is_marked_and_the_page_says_what_that_means():
    marked = replace(table(), older=frozenset({"fit"}))
    assert board_table(marked)[0]["design"] == "optimised †"
    rows = [row["design"] for row in member_rows(marked)]
    assert (rows.count("optimised †"), rows.count("initial")) == (3, 1)
    section = _comparison(marked, "a", "", None)
    assert "† hangs on stored results of older code" in section
    assert "†" not in _comparison(table(), "a", "", None)


def test_a_missing_member_is_said_at_the_top():
    data = campaign(missing={"seed=3": "no muon was accepted"})
    assert "MISSING: 1 of 3 members (seed=3: no muon was accepted)." in campaign_verdict(data)
    assert "no muon was accepted" in render_campaign(data)


def test_several_comparisons_share_one_forest_and_one_headline():
    data = campaign("a", "b")
    assert campaign_headline(data) == "The optimised design wins 2 of 2 comparisons"
    assert campaign_headline(campaign()) == "Beats baseline 1"
    page = page_of("a", "b")
    assert 'id="all"' in page
    assert page.count("<h3>Leaderboard</h3>") == 2
    assert 'id="all"' not in page_of()


def search(low, high, ratio):
    row = TrialRow(1, {"panels": 4}, "complete", 1e-3, 6.0, 5, 1000, "key")
    pair = {"ratio": ratio, "low": low, "high": high}
    versus = Versus("trial 1", "gradient alone", pair, 3, 400, (6.0, 6.0))
    return SearchData(("error",), [row], [row], {}, versus)


@pytest.mark.parametrize(
    ("found", "headline"),
    [
        ((0.8, 0.9, 0.85), "The search beats the gradient alone"),
        ((0.9, 1.1, 1.0), "The search does not beat the gradient alone"),
        ((1.1, 1.3, 1.2), "The search is worse than the gradient alone"),
    ],
    ids=["better", "tie", "worse"],
)
def test_the_headline_of_a_search_is_about_the_search(found, headline):
    assert campaign_headline(campaign(search=search(*found))) == headline


def test_a_tie_is_a_sentence_below_the_leaderboard_and_no_column():
    tied = table()
    first, second = ({**row, "tie": True} for row in tied.record["board"][:2])
    second |= {"leader": first["name"], "rank": 1, "more_seeds": 6}
    record = {**tied.record, "board": [first, second, *tied.record["board"][2:]]}
    tied = replace(tied, record=record)
    assert ties(tied)[0] == "baseline 1: a tie with optimised; about 6 more seeds would tell."
    assert all("tie" not in row for row in without_ties(tied))
    page = render_campaign(replace(campaign(), tables=[tied]))
    assert "<li>baseline 1: a tie with optimised; about 6 more seeds would tell.</li>" in page
    markdown = render_campaign_markdown(replace(campaign(), tables=[tied]), most=0)
    assert "\n- baseline 1: a tie with optimised; about 6 more seeds would tell.\n" in markdown


def test_designs_have_the_colours_of_the_other_figures_in_the_one_of_exposures():
    looks = looks_of(table())
    figure = exposure_figure(exposure_record(table()), looks=looks)
    drawn = {line.get_label(): line.get_color() for line in figure.axes[1].lines}
    for look in looks.values():
        assert drawn[look.label] == look.colour


def test_the_page_is_one_file_the_same_every_time():
    page = page_of()
    assert page == render_campaign(campaign())
    assert "Title &amp; more" in page
    assert '<link rel="stylesheet"' not in page
    assert "src=" not in page
    assert page.count('class="solid"') == 3
    assert 'download="test.csv"' in page


def test_pictures_are_small_files_with_the_same_bytes_for_the_same_data():
    first, again = (dict(campaign_pictures(campaign("a b", "c"), 1)) for _ in range(2))
    assert list(first) == ["forest.png", "forest-a-b.png", "side-view-a-b.png"]
    assert first == again
    for picture in first.values():
        assert picture[:8] == b"\x89PNG\r\n\x1a\n"
        assert 5_000 < len(picture) < 200_000
    other = dict(campaign_pictures(campaign("a b"), 1))
    assert list(other) == ["forest-a-b.png", "side-view-a-b.png"]  # one comparison: no common one
