"""How wide are the intervals of estimates, and how often do they miss? Tables for docs/estimates.md, without a corpus.

    python perf/estimate_width.py        prints markdown, writes perf/results/estimate_width.json; a minute or two

Widths are those at the hits that a sample holds on average. Misses are simulated: 2,000 runs a truth, in each a sample
of a corpus of 400 million rows that doubles and is looked at each time.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import scipy

from tailwag.retrieval.estimates import (
    hypergeometric_interval,
    plan_looks,
    scheduled_interval,
    sequence_interval,
)

ROWS, RUNS, SEED = 400_000_000, 2000, 1
SHARES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.5)
SAMPLES = (5_000, 20_000, 100_000, 1_000_000, 10_000_000)
LOOKS = tuple(rate for rate in plan_looks(ROWS) if rate < 1)
Interval = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]
INTERVALS: dict[str, Interval] = {
    "one look": hypergeometric_interval,
    "planned looks": partial(scheduled_interval, confidence=0.95, looks=len(LOOKS)),
    "looks at any time": sequence_interval,
}


def at_average_hits(interval: Interval, samples: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Give lower and upper as parts of the estimate, (samples, shares); nan where fewer than one hit is expected."""
    sampled = np.array(samples)[:, None]
    hits = np.rint(sampled * np.array(SHARES)).astype(np.int64)
    lower, upper = interval(hits, np.broadcast_to(sampled, hits.shape), ROWS)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = np.where(hits > 0, hits * (ROWS / sampled), np.nan)
    return lower / estimate, upper / estimate


def rows_to_be_within(interval: Interval, part: float) -> list[float]:
    """At which share of the rows do both ends of an average interval lie within a part of the estimate?"""
    grid = np.unique(np.geomspace(1e-5, 0.999, 400))
    lower, upper = at_average_hits(interval, (grid * ROWS).astype(int).tolist())
    narrow = (np.maximum(1 - lower, upper - 1) <= part).T
    return [float(grid[row.argmax()]) if row.any() else 1.0 for row in narrow]


def grown_hits(share: float) -> np.ndarray:
    """Draw (runs, looks) hits of samples that grow."""
    generator = np.random.default_rng(SEED)
    total, before, hits, looks = round(ROWS * share), 0, np.zeros(RUNS, np.int64), []
    for rate in LOOKS:
        drawn = round(rate * ROWS) - before
        hits = hits + generator.hypergeometric(total - hits, ROWS - before - (total - hits), np.full(RUNS, drawn))
        before += drawn
        looks.append(hits)
    return np.stack(looks, axis=1)


def missed_so_far(share: float) -> dict[str, list[float]]:
    """In which part of the runs had an interval missed by each look? One that never misses stays at 0."""
    hits, total = grown_hits(share), round(ROWS * share)
    sampled = np.array([round(rate * ROWS) for rate in LOOKS])
    missed = {}
    for name, interval in INTERVALS.items():
        lower, upper = interval(hits, sampled, ROWS)
        missed[name] = np.logical_or.accumulate((total < lower) | (upper < total), axis=1).mean(axis=0).tolist()
    return missed


def one_run(share: float) -> dict[str, dict[str, list[int]]]:
    """Give the intervals of one simulated run, for a picture."""
    hits = grown_hits(share)[0]
    sampled = np.array([round(rate * ROWS) for rate in LOOKS])
    ends = {name: interval(hits, sampled, ROWS) for name, interval in INTERVALS.items()}
    return {name: {"lower": lower.tolist(), "upper": upper.tolist()} for name, (lower, upper) in ends.items()}


def seconds_for_thousands() -> dict[str, float]:
    """How long do 4,000 concepts at 4 thresholds take, five million of five billion rows sampled?"""
    generator = np.random.default_rng(SEED)
    hits = generator.binomial(5_000_000, 10 ** generator.uniform(-8, -0.3, (4000, 4)))
    taken = {}
    for name, interval in INTERVALS.items():
        start = time.perf_counter()
        interval(hits, np.full(hits.shape, 5_000_000), 5_000_000_000)
        taken[name] = round(time.perf_counter() - start, 2)
    return taken


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out as markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def percent(value: float) -> str:
    """Two significant digits."""
    return f"{float(f'{100 * value:.2g}'):g} %"


def main() -> None:
    """Work it all out, print the tables, write the JSON."""
    shares = [f"{share:g}" for share in SHARES]
    lower, upper = at_average_hits(hypergeometric_interval, SAMPLES)
    print("One look: how far the interval's ends lie from the estimate, by the share of hits\n")
    cells = [
        [f"{rows:,}", *("–" if np.isnan(a) else f"−{percent(1 - a)} +{percent(b - 1)}" for a, b in np.stack(ends, 1))]
        for rows, *ends in zip(SAMPLES, lower, upper, strict=True)
    ]
    print(table(["rows sampled", *shares], cells))

    print(f"Widths beside that of one look ({len(LOOKS)} looks planned)\n")
    ratios = {}
    for name in ("planned looks", "looks at any time"):
        other_lower, other_upper = at_average_hits(INTERVALS[name], SAMPLES)
        ratios[name] = (other_upper - other_lower) / (upper - lower)
    cells = [
        [name, f"{rows:,}", *("–" if np.isnan(one) else f"{one:.2f}" for one in line)]
        for name, lines in ratios.items()
        for rows, line in zip(SAMPLES, lines, strict=True)
    ]
    print(table(["", "rows sampled", *shares], cells))

    print("Share of 400 million rows to read until both ends lie within 10 %\n")
    needed = {name: rows_to_be_within(interval, 0.1) for name, interval in INTERVALS.items()}
    print(table(["", *shares], [[name, *map(percent, line)] for name, line in needed.items()]))

    print(f"Runs in which some look's 95 % interval missed ({len(LOOKS)} looks, {RUNS:,} runs)\n")
    truths = (0.0, 1 / ROWS, 1e-6, 1e-4, 1e-2, 0.5)
    missed = {f"{share:g}": missed_so_far(share) for share in truths}
    print(table(["", *missed], [[name, *(percent(one[name][-1]) for one in missed.values())] for name in INTERVALS]))

    seconds = seconds_for_thousands()
    print(f"Seconds for 4,000 concepts at 4 thresholds: {seconds}")
    result = {
        "rows": ROWS,
        "runs": RUNS,
        "looks": LOOKS,
        "shares": SHARES,
        "samples": SAMPLES,
        "one_look": {"lower": lower.tolist(), "upper": upper.tolist()},
        "width_beside_one_look": {name: value.tolist() for name, value in ratios.items()},
        "share_to_read_for_10_percent": needed,
        "missed_by_each_look": missed,
        "one_run_at_1e-4": one_run(1e-4),
        "seconds_4000_concepts_4_thresholds": seconds,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }
    path = Path(__file__).parent / "results" / "estimate_width.json"
    path.write_text(json.dumps(result, indent=1).replace("NaN", "null") + "\n")


if __name__ == "__main__":
    main()
