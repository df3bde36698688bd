"""What is proposed depends on the seed and on how earlier trials ended, and on nothing else."""

import pytest

from tomopt_tasks.campaigns.proposals import Proposer, Pruner
from tomopt_tasks.config.search import Prune, Search

SPACE = {
    "x": {"setting": "constraints.area", "range": [0.0, 10.0]},
    "n": {"setting": "fit.phases[0].epochs", "integer": [2, 8], "step": 2},
    "kind": {"setting": "loss.kind", "values": ["a", "b", "c"]},
}


def settings(**changes):
    return Search.model_validate({"trials": 30, "startup": 6, "space": SPACE, **changes})


def bowl(values):
    """Least at x = 3, n = 6, kind = b."""
    return (values["x"] - 3.0) ** 2 + abs(values["n"] - 6) + (values["kind"] != "b")


def history(search, count=30, together=1, shift=0.0):
    proposer, found = Proposer(search), []
    while len(found) < count:
        batch = [proposer.ask() for _ in range(min(together, count - len(found)))]
        for values in batch:
            proposer.tell(len(found), [bowl(values) + shift * len(found)], {1: 1.0}, "complete")
            found.append(values)
    return found


def test_equal_seeds_give_equal_proposals_and_others_do_not():
    assert history(settings()) == history(settings())
    assert history(settings(seed=2)) != history(settings())


def test_more_trials_begin_with_the_same_ones():
    assert history(settings(trials=40), count=40)[:30] == history(settings())


def test_proposals_keep_to_the_space():
    for values in history(settings()):
        assert 0.0 <= values["x"] <= 10.0
        assert values["n"] in {2, 4, 6, 8}
        assert values["kind"] in {"a", "b", "c"}


def test_the_estimator_learns_from_how_trials_ended():
    found = history(settings())
    first, last = found[:6], found[-6:]
    assert sum(map(bowl, last)) < 0.5 * sum(map(bowl, first))
    # the same random beginning, other endings: other proposals
    assert history(settings(), shift=5.0)[:6] == first
    assert history(settings(), shift=5.0) != found


def test_trials_that_are_proposed_together_differ():
    together = history(settings(startup=1), together=4)
    assert len({tuple(values.values()) for values in together[4:8]}) == 4


def test_a_failed_trial_is_told_too():
    proposer = Proposer(settings())
    proposer.ask()
    proposer.tell(0, None, {}, "failed")
    proposer.ask()
    proposer.tell(1, [2.0], {1: 3.0}, "complete")
    proposer.ask()
    proposer.tell(2, None, {1: 9.0}, "pruned")
    assert proposer.best() == [1]


def test_the_front_holds_what_no_other_is_better_than_in_both():
    proposer = Proposer(settings(objectives=["error", "cost"]))
    for number, values in enumerate([(1.0, 5.0), (2.0, 2.0), (3.0, 3.0), (4.0, 1.0)]):
        proposer.ask()
        proposer.tell(number, values, {1: 1.0}, "complete")
    assert proposer.best() == [0, 1, 3]


EARLIER = [{1: 4.0, 2: 3.0, 3: 2.0}, {1: 5.0, 2: 4.0, 3: 3.0}, {1: 6.0, 2: 5.0, 3: 4.0}]


@pytest.mark.parametrize(
    ("curve", "given_up"),
    [
        ({1: 4.9}, False),
        ({1: 5.1}, True),  # the median after one epoch is 5
        ({1: 9.0, 2: 3.9}, False),  # the least so far counts
        ({1: 9.0, 2: 4.1}, True),
        ({}, False),
    ],
)
def test_a_trial_is_given_up_for_a_loss_among_the_larger_half(curve, given_up):
    assert Pruner(Prune(after_trials=3), EARLIER).prunes(curve) is given_up


def test_when_trials_are_given_up_can_be_set():
    bad = {1: 9.0, 2: 9.0}
    assert not Pruner(None, EARLIER).prunes(bad)
    assert not Pruner(Prune(after_trials=4), EARLIER).prunes(bad)
    assert not Pruner(Prune(after_trials=3, after_epochs=3), EARLIER).prunes(bad)
    assert Pruner(Prune(after_trials=3, after_epochs=2), EARLIER).prunes(bad)
    assert not Pruner(Prune(after_trials=3, keep=1.0), EARLIER).prunes({1: 5.5})
