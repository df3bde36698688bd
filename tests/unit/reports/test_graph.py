import re

from tests.unit.reports.report_example import key, stage, stages
from tomopt_tasks.reports.graph import graph_mermaid, graph_svg, stage_nodes


def test_epochs_of_a_phase_share_a_box_that_counts_them():
    nodes = {node.label: node for node in stage_nodes(stages())}
    assert nodes["coarse"].state == "cached"
    assert nodes["coarse"].words == "10 epochs cached"
    assert nodes["fine"].words == "10 epochs ran, 17 s"
    assert len(nodes) == 3 + 3 + 1 + 2 + 8 + 1


def test_a_box_with_both_says_both():
    rows = stages()
    rows[8] |= {"status": "ran", "seconds": 2.0}
    (node,) = [node for node in stage_nodes(rows) if node.label == "coarse"]
    assert (node.state, node.words) == ("mixed", "9 cached, 1 ran, 2.0 s")


def test_no_stage_is_lost():
    assert sum(len(node.keys) for node in stage_nodes(stages())) == len(stages())
    assert sum(node.ran for node in stage_nodes(stages())) == 13


def test_very_many_like_stages_become_one_box():
    rows = [stage(f"test/design {k}", "predict", "predictions") for k in range(40)]
    (node,) = stage_nodes(rows)
    assert (node.label, node.words) == ("predict", "40 stages ran, 16 s")


def test_edges_that_another_path_implies_are_left_out():
    rows = [
        stage("volumes", "make_volumes", "volumes"),
        stage("muons", "transport_muons", "bank", ["volumes"]),
        stage("test", "predict", "predictions", ["volumes", "muons"]),
    ]
    assert re.findall(r"n\d --> n\d", graph_mermaid(rows)) == ["n0 --> n1", "n1 --> n2"]
    assert graph_svg(rows).count("<path") == 2


def test_parents_may_be_named_by_role_and_may_be_unknown():
    rows = [
        stage("muons", "transport_muons", "bank"),
        stage("test", "predict", "predictions") | {"parents": {"bank": key("muons"), "x": "gone"}},
    ]
    assert graph_mermaid(rows).count("-->") == 1
    bare = [{k: v for k, v in row.items() if k != "parents"} for row in rows]
    assert graph_svg(bare).count("<path") == 0


def test_long_labels_are_cut_in_the_box_but_whole_in_its_title():
    long = "baseline with a very long name on test"
    text = graph_svg([stage(long, "predict", "predictions")])
    assert text.count(long) == 1
    assert ">baseline with a very …<" in text


def test_labels_cannot_break_out_of_the_picture():
    rows = [stage('<b>"x"</b>', "predict", "predictions")]
    assert "<b>" not in graph_svg(rows)
    assert '"x"' not in graph_mermaid(rows)


def test_boxes_tell_their_reason_and_whole_key():
    assert f"no such result yet\nkey {key('evaluation')}" in graph_svg(stages())
