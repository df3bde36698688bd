"""What limits on heights are worth: multipliers against the loss with limits that gave way."""

import pytest

from tomopt_tasks.detectors.separation import pushes, separate

LIMITS = {"gap": 0.1, "low": 0.0, "high": 1.0}
WANTED = {
    "a pair in the middle": [0.5, 0.52, 0.8],
    "three in a heap, in any order": [0.53, 0.45, 0.5, 0.9],
    "one below the floor": [-0.2, 0.5],
    "a heap on the floor": [-0.05, 0.0, 0.02, 0.7],
    "a heap under the ceiling": [1.3, 0.95, 0.97, 0.2],
    "floor, middle and ceiling": [-0.1, 0.0, 0.5, 0.55, 1.2],
    "nothing touches": [0.2, 0.5, 0.8],
}


def loss(wanted, **limits):
    """Half the squared distance of the nearest heights that are allowed."""
    found = separate(wanted, *(limits[name] for name in ("gap", "low", "high")))
    return sum((a - b) ** 2 for a, b in zip(found, wanted, strict=True)) / 2


@pytest.mark.parametrize("wanted", WANTED.values(), ids=WANTED)
def test_a_push_is_what_the_loss_falls_by_if_the_limit_gives_way(wanted):
    heights = separate(wanted, **LIMITS)
    slopes = [a - b for a, b in zip(heights, wanted, strict=True)]
    found = pushes(heights, slopes, **LIMITS)
    step = 1e-6

    def slope(name):
        more, less = ({**LIMITS, name: LIMITS[name] + s} for s in (step, -step))
        return (loss(wanted, **more) - loss(wanted, **less)) / (2 * step)

    assert sum(found.gaps) == pytest.approx(slope("gap"), abs=1e-6)
    assert found.low == pytest.approx(slope("low"), abs=1e-6)
    assert found.high == pytest.approx(-slope("high"), abs=1e-6)
    assert min(*found.gaps, found.low, found.high) > -1e-9
    for k, (a, b) in enumerate(zip(sorted(heights), sorted(heights)[1:], strict=False)):
        assert found.gaps[k] == 0 or b - a == pytest.approx(LIMITS["gap"])


def test_what_a_heap_does_not_balance_is_no_push():
    """Two panels that both want up by as much are held by nothing."""
    assert pushes([0.5, 0.6], [-1.0, -1.0], 0.1, 0.0, 1.0) == ([0.0], 0.0, 0.0)
