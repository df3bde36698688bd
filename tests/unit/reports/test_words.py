import copy
import doctest

import pytest

from tomopt_tasks.core import UserError
from tomopt_tasks.reports import numbers
from tomopt_tasks.reports.data import (
    FILL_HEIGHT,
    ReportData,
    Target,
    design_label,
    final_design,
    shown_designs,
    target_of,
)
from tomopt_tasks.reports.table import comparison_table, per_target_table
from tomopt_tasks.reports.verdict import headline, verdict


def judged(evaluation, low, high, **pair):
    """The same record with another interval for the optimised design."""
    changed = copy.deepcopy(evaluation)
    changed["paired"]["fit"] |= {"ratio": (low * high) ** 0.5, "low": low, "high": high, **pair}
    return changed


def test_examples_of_number_formats_hold():
    assert doctest.testmod(numbers).failed == 0


def test_table_has_one_row_a_design_and_equal_columns(evaluation):
    rows = comparison_table(evaluation)
    assert [row["design"] for row in rows] == ["initial", "optimised", "baseline 1", "baseline 2"]
    assert len({tuple(row) for row in rows}) == 1
    assert all(isinstance(text, str) and "nan" not in text for row in rows for text in row.values())


def test_table_shows_the_numbers_of_the_record(evaluation):
    row = comparison_table(evaluation)[1]
    design, pair = evaluation["designs"]["fit"], evaluation["paired"]["fit"]
    assert float(row["RMSE [mm]"].split(" ± ")[0]) == pytest.approx(1000 * design["rmse"], rel=1e-2)
    assert float(row["MSE ratio"]) == pytest.approx(pair["ratio"], rel=2e-3)
    assert row["budget used [m²]"] == "6.000"


@pytest.mark.parametrize(
    ("low", "high", "words", "head", "sentence"),
    [
        (0.6, 0.8, "better than baseline 1", "Beats baseline 1", "it beats the best baseline"),
        (1.1, 1.3, "worse than baseline 1", "Does not beat baseline 1", "it does not beat"),
        (0.9, 1.1, "tie with baseline 1", "A tie with baseline 1", "a tie, these volumes cannot"),
        (1.0, 1.1, "tie with baseline 1", "A tie with baseline 1", "a tie"),
    ],
)
def test_interval_decides_the_words_everywhere(evaluation, low, high, words, head, sentence):
    changed = judged(evaluation, low, high)
    assert comparison_table(changed)[1]["result"] == words
    assert headline(changed).startswith(head)
    assert sentence in verdict(changed)


def test_reference_is_named_as_such_and_has_no_interval(evaluation):
    row = comparison_table(evaluation)[2]
    assert (row["result"], row["MSE ratio"], row["95 % interval"]) == ("reference", "1", "—")


def test_a_tie_says_how_many_volumes_would_settle_it(evaluation):
    assert "about 998 test volumes" in verdict(judged(evaluation, 0.9, 1.1, volumes_needed=998))
    assert "test volumes would" not in verdict(judged(evaluation, 0.9, 1.1, volumes_needed=None))


def test_a_win_is_told_in_exposure_too(evaluation):
    text = verdict(evaluation)
    assert "less exposure" in text
    assert "less exposure" not in verdict(judged(evaluation, 0.9, 1.1))


def test_an_optimised_design_worse_than_the_initial_one_is_not_hidden(evaluation):
    changed = judged(evaluation, 1.2, 1.5)
    changed["designs"]["fit"]["mse"] = 3 * changed["designs"]["start"]["mse"]
    assert "3.0 times LARGER" in verdict(changed)


def test_volumes_without_accepted_muons_are_mentioned(evaluation):
    assert "1 of 200 for the initial design" in verdict(evaluation)
    changed = copy.deepcopy(evaluation)
    changed["designs"]["start"]["n_empty"] = 0
    assert "no muon was accepted" not in verdict(changed)


def test_without_baselines_no_win_is_claimed(evaluation):
    changed = copy.deepcopy(evaluation)
    changed |= {"reference": "start", "baselines": []}
    changed["designs"] = {name: changed["designs"][name] for name in ("start", "fit")}
    changed["paired"] = {"fit": {**changed["paired"]["fit"], "against": "start"}}
    assert "no baseline was given" in headline(changed)
    assert "no baseline was given" in verdict(changed)
    assert "beats" not in verdict(changed)


def test_a_single_design_is_compared_with_nothing(evaluation):
    alone = {
        "reference": "fit", "baselines": [], "paired": {},
        "designs": {"fit": evaluation["designs"]["fit"]},
    }  # fmt: skip
    assert headline(alone) == "Nothing to compare with"
    assert "no other design" in verdict(alone)


def test_targets_table_gives_bias_with_its_error(evaluation):
    rows = per_target_table(evaluation["designs"]["fit"])
    assert [row["true fill height [mm]"] for row in rows] == [
        "600", "700", "800", "900", "1000", "1100", "1200", "1300",
    ]  # fmt: skip
    assert all("±" in row["mean error [mm]"] for row in rows)


def test_fill_heights_are_shown_in_mm_and_unknown_targets_without_unit(report):
    assert target_of(report.study) is FILL_HEIGHT
    assert target_of({"scenes": {"test": [{"kind": "boxes"}]}}) == Target()
    assert target_of({"scenes": {"test": {"kind": "cargo"}}}).name == "presence"
    columns = comparison_table(report.evaluation, Target())[0]
    assert {"RMSE", "MSE"} <= set(columns)


def test_designs_are_called_by_words():
    names = ("start", "fit", "baseline_2", "even_spacing", "fit_seed_3")
    assert [design_label(name) for name in names] == [
        "initial", "optimised", "baseline 2", "even spacing", "optimised seed 3",
    ]  # fmt: skip


def test_the_judged_design_is_the_fit_else_the_best_new_one(evaluation):
    assert final_design(evaluation) == "fit"
    renamed = copy.deepcopy(evaluation)
    renamed["designs"]["mine"] = renamed["designs"].pop("fit")
    assert final_design(renamed) == "mine"
    assert shown_designs(evaluation) == ["start", "fit", "baseline_1"]


def test_a_report_without_designs_is_refused():
    with pytest.raises(UserError, match="at least one design"):
        ReportData("empty", {}, {"designs": {}})
