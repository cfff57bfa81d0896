"""Intervals hold a planted slope about as often as they say, and the page says what the simulation found."""

from __future__ import annotations

import json
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

DOCS = Path(__file__).parents[2] / "docs"
REPLICATES = 60


@pytest.fixture(scope="module")
def simulation():
    spec = spec_from_file_location("statistics_simulation", DOCS / "statistics_simulation.py")
    module = module_from_spec(spec)
    sys.modules["statistics_simulation"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def covered(simulation, task, world, replicates=REPLICATES):
    rows = [simulation.replicate(task, world, seed) for seed in range(replicates)]
    return simulation.coverage(rows, simulation.WORLDS[world].slope)


def fewest(chance: float, replicates: int = REPLICATES) -> float:
    """The share that an interval of this coverage falls below once in a thousand times."""
    return stats.binom.ppf(1e-3, replicates, chance) / replicates


def test_few_unequal_sets_need_the_corrected_intervals(simulation):
    found = covered(simulation, "slopes", "random")
    for method in ("within cr2", "within wild", "pooled cr2", "pooled wild", "mean mixed"):
        assert found[method]["covers"] >= fewest(0.93), method
    assert found["within classical"]["covers"] < 0.75 and found["pooled classical"]["covers"] < 0.5
    assert found["within cr2"]["median width"] > found["within cr1"]["median width"]
    assert abs(found["within cr2"]["bias"]) < 0.5


def test_simex_takes_off_what_errors_of_counts_put_on(simulation):
    found = covered(simulation, "errors", "error", 20)
    assert found["naive cr2"]["bias"] < -0.3 and abs(found["simex"]["bias"]) < abs(found["naive cr2"]["bias"]) / 2


def test_log_odds_are_covered(simulation):
    found = covered(simulation, "log odds", "logistic", 40)
    assert found["logistic cr2"]["covers"] >= fewest(0.93, 40) and abs(found["logistic cr2"]["bias"]) < 0.02


def test_the_published_r_is_high_where_nothing_is_within_sets(simulation):
    rows = [simulation.replicate("published", "simpson", seed) for seed in range(30)]
    assert np.median([row["published"][0] for row in rows]) > 0.8
    assert np.mean([row["within"][1] <= 0 <= row["within"][2] for row in rows]) >= fewest(0.93, 30)


def test_the_same_seed_is_the_same_world(simulation):
    one, other = (simulation.replicate("errors", "error", 3) for _ in range(2))
    assert one == other != simulation.replicate("errors", "error", 4)


def test_the_page_has_the_tables_that_were_simulated(simulation):
    text, found = simulation.PAGE.read_text("utf-8"), json.loads(simulation.FOUND.read_text("utf-8"))
    assert found["replicates"] >= 500
    assert simulation.page(text, found) == text
    assert set(re.findall(r"<!-- simulated: (\w+) -->", text)) == set(simulation.tables(found))
