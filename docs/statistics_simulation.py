"""Simulate test sets with a known slope, see which intervals hold it, and write that into docs/statistics.md.

    python docs/statistics_simulation.py [--replicates 1000] [--processes 2] [--world NAME …]

Writes docs/statistics_simulation.json and the tables between its markers in docs/statistics.md; with --world, only
those worlds anew; with --tables, only the page, from the JSON. The simulated worlds are here and nowhere else; tests
run them again with fewer replicates.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tailwag.analysis.fits.binomial import logistic_slope
from tailwag.analysis.fits.concept_level import log_frequency
from tailwag.analysis.fits.frequency_errors import simex
from tailwag.analysis.fits.mixed_effects import mean_of_slopes, mixed_slope
from tailwag.analysis.fits.published import published_fit
from tailwag.analysis.fits.slope_intervals import SlopeIntervals, pooled_slope, within_slope
from tailwag.analysis.fits.within_sets import decompose
from tailwag.errors import BadInput

DOCS = Path(__file__).parent
FOUND, PAGE = DOCS / "statistics_simulation.json", DOCS / "statistics.md"
# The concepts of the paper's seventeen test sets: from ten to a thousand.
SIZES = (500, 100, 257, 10, 100, 211, 200, 47, 10, 100, 102, 101, 1000, 37, 196, 397, 101)


@dataclass(frozen=True)
class World:
    """What is true in a simulation. Slopes are in points per decade.

    Attributes
    ----------
    about
        In words.
    sizes
        Concepts of each test set.
    slope
        The mean slope within test sets.
    spread
        The standard deviation of the test sets' slopes.
    easier
        How many points easier a test set is, on average, for a decade more in its mean frequency: Simpson's part.
    error
        The standard deviation of the error of log10 frequency, decades.
    logistic
        Whether the slope is one of log odds (a decade), with no noise but that of the test images.
    test_images
        Test images a concept.
    common
        The mean of log10 frequency.
    """

    about: str
    sizes: tuple[int, ...] = SIZES
    slope: float = 3.0
    spread: float = 0.0
    easier: float = 0.0
    error: float = 0.0
    logistic: bool = False
    test_images: int = 50
    common: float = 1.3


WORLDS = {
    "equal": World("17 equal sets, one slope", sizes=(200,) * 17),
    "unequal": World("17 sets of 10 to 1,000, one slope"),
    "random": World("17 sets of 10 to 1,000, slopes differ", spread=2.0),
    "equal random": World("17 equal sets, slopes differ", sizes=(200,) * 17, spread=2.0),
    "five": World("5 sets of 100 to 500, slopes differ", sizes=SIZES[:3] + SIZES[5:7], spread=2.0),
    "fifty": World("50 equal sets, slopes differ", sizes=(70,) * 50, spread=2.0),
    "error": World("counts with errors, few zeros", error=0.4, common=4.0),
    "error, zeros": World("counts with errors, many zeros", error=0.4),
    "logistic": World("17 sets of 10 to 1,000, log odds", slope=0.3, logistic=True, test_images=20),
    "simpson": World("no slope within sets, easy sets have frequent concepts", slope=0.0, easier=12.0),
    "no slope": World("no slope within sets, easiness and frequency unrelated", slope=0.0),
}
SLOPE_WORLDS = ("equal", "unequal", "equal random", "random", "five", "fifty")
METHODS = ("classical", "cr1", "cr2", "wild", "percentile", "bca")


@dataclass(frozen=True)
class Sample:
    """Counts and accuracies drawn in a world: (n,) each, `errors` the standard deviations of log10(1 + count)."""

    counts: np.ndarray
    values: np.ndarray
    sets: np.ndarray
    trials: np.ndarray
    errors: np.ndarray

    @property
    def x(self) -> np.ndarray:
        """log10(1 + count)."""
        return log_frequency(self.counts)


def simulate(world: World, generator: np.random.Generator) -> Sample:
    """Draw one sample.

    A set's mean of log10 frequency is normal around `common` with standard deviation 0.9, its concepts lie around it
    with 1.0; counts are Poisson, so that rare concepts are often never found (three in ten of them for 1.3). A set's
    easiness is normal around 50 points with 8, a concept's around the line with 10; its accuracy is binomial over its
    test images.
    """
    sets = np.repeat(np.arange(len(world.sizes)), world.sizes)
    level = generator.normal(world.common, 0.9, len(world.sizes))
    rate = level[sets] + generator.normal(0, 1.0, len(sets))
    counts = generator.poisson(10 ** np.minimum(rate, 7)).astype(float)
    x = log_frequency(counts)
    slope = generator.normal(world.slope, world.spread, len(world.sizes))[sets] if world.spread else world.slope
    easiness = generator.normal(0, 8, len(world.sizes)) + world.easier * (level - world.common)
    if world.logistic:
        chance = 1 / (1 + np.exp(-(easiness[sets] / 12 + slope * (x - world.common))))
    else:
        points = 50 + easiness[sets] + slope * (x - world.common) + generator.normal(0, 10, len(sets))
        chance = np.clip(points / 100, 0.01, 0.99)
    trials = np.full(len(sets), float(world.test_images))
    values = generator.binomial(world.test_images, chance) / world.test_images
    errors = np.full(len(sets), world.error)
    if world.error:
        counts = np.maximum(10 ** (x + generator.normal(0, world.error, len(sets))) - 1, 0)
    return Sample(counts, values, sets, trials, errors)


Row = dict[str, tuple[float, float, float]]  # method -> estimate, lower, upper


def slopes_of(sample: Sample, level: float, seed: int) -> Row:
    """Give every interval of the slope within sets, of the pooled slope, and of the mean slope."""
    found: Row = {}
    for kind, function in (("within", within_slope), ("pooled", pooled_slope)):
        slope: SlopeIntervals = function(sample.x, sample.values, sample.sets, level, 999, seed)
        for method in METHODS:
            interval = getattr(slope, method)
            found[f"{kind} {method}"] = (slope.slope, interval.lower, interval.upper)
    sets = decompose(sample.x, sample.values, sample.sets, level).sets
    own = mean_of_slopes(np.array([each.slope for each in sets]), np.array([each.error for each in sets]), level)
    found["mean own slopes"] = (own.slope, own.interval.lower, own.interval.upper)
    try:
        mixed = mixed_slope(sample.x, sample.values, sample.sets, level)
    except BadInput:
        mixed = own
    if any(flag.severity == "warning" for flag in mixed.flags):
        mixed = own  # as the analysis does
    found["mean mixed"] = (mixed.slope, mixed.interval.lower, mixed.interval.upper)
    return found


def errors_of(sample: Sample, level: float, seed: int) -> Row:
    """Give the slope within sets as if there were no errors, and by SIMEX."""
    naive = within_slope(sample.x, sample.values, sample.sets, level, 999, seed)
    free = simex(sample.x, sample.errors, sample.values, sample.sets, level, draws=50, seed=seed)
    return {
        "naive cr2": (naive.slope, naive.cr2.lower, naive.cr2.upper),
        "simex": (free.corrected, free.interval.lower, free.interval.upper),
    }


def log_odds_of(sample: Sample, level: float, seed: int) -> Row:
    """Give both intervals of the logistic slope."""
    fit = logistic_slope(sample.x, sample.values, sample.trials, sample.sets, level)
    return {
        "logistic cr2": (fit.log_odds, fit.interval.lower, fit.interval.upper),
        "logistic quasi": (fit.log_odds, fit.quasi_interval.lower, fit.quasi_interval.upper),
    }


def published_of(sample: Sample, level: float, seed: int) -> Row:
    """Give the published r with its p in place of an interval, and the slope within sets."""
    fit = published_fit(sample.counts, sample.values, remarks=False)
    inside = within_slope(sample.x, sample.values, sample.sets, level, 999, seed)
    pooled = pooled_slope(sample.x, sample.values, sample.sets, level, 999, seed)
    return {
        "published": (fit.r, fit.p, fit.slope),
        "pooled": (pooled.slope, pooled.cr2.lower, pooled.cr2.upper),
        "within": (inside.slope, inside.cr2.lower, inside.cr2.upper),
    }


TASKS: dict[str, tuple[tuple[str, ...], Callable[[Sample, float, int], Row]]] = {
    "slopes": (SLOPE_WORLDS, slopes_of),
    "errors": (("error", "error, zeros"), errors_of),
    "log odds": (("logistic",), log_odds_of),
    "published": (("simpson", "no slope"), published_of),
}


def replicate(task: str, world: str, seed: int, level: float = 0.95) -> Row:
    """Draw one sample and fit it."""
    generator = np.random.default_rng([seed, list(WORLDS).index(world)])
    return TASKS[task][1](simulate(WORLDS[world], generator), level, seed)


def _replicate(job: tuple[str, str, int]) -> Row:
    return replicate(*job)


def coverage(rows: list[Row], truth: float) -> dict[str, dict[str, float]]:
    """How often does each interval hold the truth; how wide is it, and where do its estimates lie?"""
    found = {}
    for method in rows[0]:
        estimate, lower, upper = np.array([row[method] for row in rows]).T
        there = np.isfinite(estimate) & ~np.isnan(lower) & ~np.isnan(upper)
        width = (upper - lower)[there]
        held = (lower[there] <= truth) & (truth <= upper[there])
        found[method] = {
            "covers": float(held.mean()) if there.any() else math.nan,
            "median width": float(np.median(width)) if there.any() else math.nan,
            "bias": float(estimate.mean() - truth),
            "intervals": int(there.sum()),
        }
    return found


def run(replicates: int, processes: int, only: list[str]) -> dict:
    """Run every world, or some."""
    found: dict = {
        "replicates": replicates,
        "level": 0.95,
        "versions": {name: version(name) for name in ("numpy", "scipy", "statsmodels")},
        "worlds": {name: world.about for name, world in WORLDS.items()},
    }
    with ProcessPoolExecutor(processes) as pool:
        for task, (worlds, _) in TASKS.items():
            for world in [each for each in worlds if each in only]:
                jobs = [(task, world, seed) for seed in range(replicates)]
                rows = list(pool.map(_replicate, jobs, chunksize=10))
                if task == "published":
                    r, p, slope = np.array([row["published"] for row in rows]).T
                    inside = coverage([{"within": row["within"], "pooled": row["pooled"]} for row in rows], 0.0)
                    found.setdefault(task, {})[world] = {
                        "median r": float(np.nanmedian(r)),
                        "significant": float(np.nanmean(p < 0.05)),
                        "median slope": float(np.nanmedian(slope)),
                        "pooled refused": 1 - inside["pooled"]["covers"],
                        "within refused": 1 - inside["within"]["covers"],
                    }
                else:
                    found.setdefault(task, {})[world] = coverage(rows, WORLDS[world].slope)
                print(f"{task}, {world}: done", flush=True)
    return found


def tables(found: dict) -> dict[str, str]:
    """Give the tables of the page, by the name in their marker."""
    names = {
        "classical": "classical",
        "cr1": "CR1, t(G − 1)",
        "cr2": "CR2, Satterthwaite",
        "wild": "wild bootstrap",
        "percentile": "percentile",
        "bca": "BCa",
    }

    def table(headings: list[str], rows: list[list[str]]) -> str:
        return "".join(f"| {' | '.join(row)} |\n" for row in [headings, ["---"] * len(headings), *rows])

    def cell(each: dict[str, float]) -> str:
        if not each["intervals"]:
            return "–"
        return f"{100 * each['covers']:.1f} % ({each['median width']:.2f})"

    made = {}
    for kind in ("within", "pooled"):
        rows = [
            [found["worlds"][world], *(cell(found["slopes"][world][f"{kind} {method}"]) for method in METHODS)]
            for world in SLOPE_WORLDS
        ]
        made[kind] = table([f"slope {kind}", *(names[method] for method in METHODS)], rows)
    made["mean"] = table(
        ["mean slope", "mixed model, t(G − 1)", "sets' own slopes, Hartung and Knapp"],
        [
            [
                found["worlds"][world],
                *(cell(found["slopes"][world][f"mean {kind}"]) for kind in ("mixed", "own slopes")),
            ]
            for world in SLOPE_WORLDS
        ],
    )
    made["other"] = table(
        ["", "true", "mean estimate", "95 % interval holds it (median width)"],
        [
            [title, f"{truth:g}", f"{truth + each['bias']:.3f}", cell(each)]
            for title, truth, each in (
                *(
                    (f"{found['worlds'][world]}; {title}", 3, found["errors"][world][method])
                    for world in ("error", "error, zeros")
                    for title, method in (("as if without: CR2", "naive cr2"), ("SIMEX, jackknife", "simex"))
                ),
                ("log odds: CR2", 0.3, found["log odds"]["logistic"]["logistic cr2"]),
                ("log odds: quasi-binomial", 0.3, found["log odds"]["logistic"]["logistic quasi"]),
            )
        ],
    )
    made["published"] = table(
        [
            "nothing within test sets",
            "median published r",
            "its p below 0.05",
            "pooled slope: CR2 refuses 0",
            "slope within: CR2 refuses 0",
        ],
        [
            [
                found["worlds"][world],
                f"{each['median r']:.2f}",
                *(f"{100 * each[key]:.1f} %" for key in ("significant", "pooled refused", "within refused")),
            ]
            for world, each in found["published"].items()
        ],
    )
    made["replicates"] = f"{found['replicates']:,} replicates a row; numpy {found['versions']['numpy']}, scipy " + (
        f"{found['versions']['scipy']}, statsmodels {found['versions']['statsmodels']}.\n"
    )
    return made


def page(text: str, found: dict) -> str:
    """Put the tables into the page, each up to the first end after its marker."""
    made = tables(found)

    def filled(marker: re.Match[str]) -> str:
        return f"{marker[1]}\n{made[marker[2]]}\n{marker[3]}"

    return re.sub(r"(<!-- simulated: (\w+) -->\n).*?(<!-- end -->)", filled, text, flags=re.S)


def main() -> None:
    """Run and write, or only write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--world", action="append", choices=WORLDS, help="only this world; may be given several times")
    parser.add_argument("--tables", action="store_true", help="only fill the page from the JSON")
    asked = parser.parse_args()
    if not asked.tables:
        found = run(asked.replicates, asked.processes, asked.world or list(WORLDS))
        if asked.world:
            kept = json.loads(FOUND.read_text("utf-8"))
            if any(kept[key] != found[key] for key in ("replicates", "versions")):
                parser.error(
                    "what is there was made with other versions or another number of replicates: run all worlds"
                )
            found |= {task: kept[task] | found.get(task, {}) for task in TASKS}
        FOUND.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text("utf-8"), json.loads(FOUND.read_text("utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
