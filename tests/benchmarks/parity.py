"""Print the published ladle table, an independent run of the published code, and ours.

    python -m tests.benchmarks.parity --seeds 10

Then the same with each error of the published computation taken back, one at a time, and what each
does to every design. Resumable: predictions lie in the store.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping

import numpy as np

from tests.benchmarks.published import (
    AS_PUBLISHED,
    DESIGNS,
    ERRORS,
    PUBLISHED,
    PUBLISHED_MAE,
    RERUN,
    RIGHT_FLUX,
    SWITCHES,
    Figures,
    Variant,
    agreement,
    effect,
    measure,
)
from tomopt_tasks.project import default_store
from tomopt_tasks.reports.numbers import scientific, with_error
from tomopt_tasks.reports.text import columns


def main() -> None:
    """Run what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="exposures; at least 2")
    parser.add_argument("--store", default=default_store(), help="where results lie")
    parser.add_argument("--switches", action="store_true", help="the small effects too")
    asked = parser.parse_args()
    seeds = range(1, asked.seeds + 1)
    found = {}
    for variant in (*ERRORS, *(SWITCHES if asked.switches else ())):
        sys.stderr.write(f"{variant.name}: {asked.seeds} seeds\n")
        found[variant] = measure(asked.store, variant, seeds)
    sys.stdout.write("\n".join(lines(found)) + "\n")


def lines(found: Mapping[Variant, Figures]) -> Iterator[str]:
    """All tables."""
    yield "MSE after linear correction [m2], mean ± standard error over exposures of 48 ladles,"
    yield "beside the published code run independently with exposures of 48"
    for variant in ERRORS:
        yield from ("", variant.name, *columns(list(rerun_rows(variant, found[variant]))))
    yield from ("", "The same over exposures of 96 ladles, beside the authors' numbers for one", "")
    yield from columns(list(published_rows(found)))
    yield from ("", "MSE over MSE as published, same muons", "")
    yield from columns([effects(variant, found) for variant in found if variant != AS_PUBLISHED])


def rerun_rows(variant: Variant, figures: Figures) -> Iterator[dict[str, str]]:
    """One row a design beside the independent run."""
    for name, theirs in RERUN[variant.name].items():
        ours = agreement(figures.half[name], theirs)
        strays = np.abs(figures.half[name] / ours.mean - 1) > 0.2
        yield {
            "design": name.replace("_", " "),
            "here": scientific(ours.mean, ours.error),
            "one exposure": f"± {100 * ours.spread / ours.mean:.0f} %",
            "beyond 20 %": f"{100 * strays.mean():.0f} %",
            "rerun": " / ".join(f"{value:.3g}" for value in theirs),
            "here/rerun": f"{ours.ratio:.2f}",
            "within 20 %": yes(abs(ours.ratio - 1) <= 0.2),
            "pull": f"{ours.pull:+.1f}",
            "within 2 s.e.": yes(abs(ours.pull) <= 2),
        }


def published_rows(found: Mapping[Variant, Figures]) -> Iterator[dict[str, str]]:
    """One row for each published number."""
    for variant in (AS_PUBLISHED, RIGHT_FLUX):
        for what, table in (("MSE", PUBLISHED), ("mean |error|", PUBLISHED_MAE)):
            for name, theirs in table[variant.name].items():
                figures = found[variant]
                mine = (figures.mse if what == "MSE" else figures.mae)[name]
                ours = agreement(mine, [theirs])
                show = scientific if what == "MSE" else with_error
                yield {
                    "computed": variant.name,
                    "figure": what,
                    "design": name.replace("_", " "),
                    "here": show(ours.mean, ours.error),
                    "one exposure": f"± {100 * ours.spread / ours.mean:.0f} %",
                    "published": f"{theirs:.3g}",
                    "here/published": f"{ours.ratio:.2f}",
                    "pull": f"{ours.pull:+.1f}",
                    "within 2 s.e.": yes(abs(ours.pull) <= 2),
                }


def effects(variant: Variant, found: Mapping[Variant, Figures]) -> dict[str, str]:
    """What a variant does to each design."""
    row = {"taken back": variant.name}
    for name in DESIGNS[1:]:
        ratio = effect(found[variant].mse[name], found[AS_PUBLISHED].mse[name])
        row[name.replace("_", " ")] = with_error(*ratio)
    return row


def yes(agrees: bool) -> str:
    """A flag as people read it."""
    return "yes" if agrees else "NO"


if __name__ == "__main__":
    main()
