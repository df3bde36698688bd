"""The messages of a run that goes on without Prefect: the same as with it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tomopt_tasks.runs.notify import send
from tomopt_tasks.runs.occasions import Occasions
from tomopt_tasks.runs.run import Run
from tomopt_tasks.runs.standing import facts_of, how_to_go_on


@contextmanager
def told(run: Run) -> Iterator[Callable[[], None]]:
    """Send the messages that the study asks for; gives what is to be called after every epoch.

    Args:
        run: begun.
    """
    occasions, facts = Occasions(run), facts_of(run)

    def tell(occasion: str, words: str) -> None:
        send(run.study.notify, occasion, run.id, words, facts)

    def epoch() -> None:
        for each in occasions.epoch():
            tell(each.occasion, each.words)

    try:
        yield epoch
    except Exception as problem:
        tell("failed", f"failed: {problem}. {how_to_go_on(run)}")
        raise
    tell("finished", f"finished; {len(run.executed)} stages ran, {run.cached} were cached")
