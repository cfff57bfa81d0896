"""What the comparison says: four steps, in words that hold."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from tailwag.analysis.fits.exponential_need import data_needed
from tailwag.analysis.fits.settings import FitSettings
from tailwag.analysis.fits.together import fit_points
from tailwag.analysis.inputs.points import POINT_COLUMNS, Points
from tailwag.analysis.report import drawing
from tailwag.analysis.report.cell import Cell
from tailwag.analysis.report.comparison import _range_of_times, ladder, sentences
from tailwag.analysis.report.shape import group_means, sensitivity_grid


def cell_of(task, counts, values):
    counts, values = np.asarray(counts, float), np.asarray(values, float)
    own = {"model": "m", "pretraining": "p", "metric": "accuracy", "n": np.nan, "side": "image", "rows": np.nan}
    table = pd.DataFrame({"task": task, "count": counts, "frequency": counts, "value": values}).assign(
        concept=[f"c{number}" for number in range(len(counts))], lower=np.nan, upper=np.nan, grade="", **own
    )
    points = Points(table[list(POINT_COLUMNS)])
    fits = fit_points(points, FitSettings(replicates=100))
    return Cell.of(fits.models[0], "p", "image", points.table)


@pytest.fixture(scope="module")
def simpson():
    """Inside each of six sets accuracy falls with frequency; between them it rises."""
    generator = np.random.default_rng(3)
    task, counts, values = [], [], []
    for number in range(6):
        decades = number / 2 + generator.uniform(0, 1.5, 40)
        task += [f"t{number}"] * 40
        counts += list(np.round(10**decades))
        values += list(
            np.clip(0.2 + 0.12 * number - 0.05 * (decades - number / 2) + generator.normal(0, 0.02, 40), 0, 1)
        )
    return cell_of(task, counts, values)


def test_a_pooled_rise_that_is_a_fall_inside_every_set_shows_as_one(simpson):
    published, found, everything, inside = ladder(simpson)
    assert not published.value.startswith("−") and not found.value.startswith("−")
    assert not everything.value.startswith("−")
    assert inside.value.startswith("−")
    assert re.match(r"−\d\.\d points a decade \[−\d\.\d to −\d\.\d\]", inside.slope)
    assert simpson.between.value > 0 > simpson.within.value
    assert "more data do not help" in " ".join(sentences(simpson))


def test_a_set_that_is_known_less_at_more_counts_has_its_own_line_downwards(simpson):
    for each in simpson.sets:
        left, right = each.values_at(np.array([each.line.low_x, each.line.high_x]))
        assert right < left


def test_group_means_take_off_the_level_of_test_sets(simpson):
    places, means, _, sizes = group_means(simpson)
    assert sum(sizes) == len(simpson.counts)
    # Noise aside the groups lie on the line inside sets, which falls, though the raw means rise.
    assert np.polyfit(places, means, 1)[0] == pytest.approx(simpson.within.value, abs=1.0)


def test_the_grid_of_cuts_holds_the_published_figure(simpson):
    grid = sensitivity_grid(simpson)
    assert np.nanmin(np.abs(grid - simpson.published.r)) < 1e-12


@pytest.mark.parametrize(
    ("slope", "lower", "upper", "told"),
    [
        (5.0, 2.5, 10.0, " (from 10 times to 10,000 times)"),
        (5.0, -1.0, 10.0, " (from 10 times to no bound)"),
        (-2.0, -3.0, -1.0, ", or more data do not help at all"),
        (5.0, float("nan"), float("nan"), ""),
        (1.0, 0.1, 1.5, " (from more than a million times to more than a million times)"),
    ],
)
def test_the_data_needed_are_told_no_finer_than_they_are_known(slope, lower, upper, told):
    assert _range_of_times(data_needed(slope, lower, upper)) == told


def test_one_test_set_alone_and_counts_without_variation_are_told_and_stop_nothing():
    one = cell_of(["t"] * 12, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024], np.linspace(0.1, 0.9, 12))
    assert len(ladder(one)) == 4
    flat = cell_of(["a"] * 6 + ["b"] * 6, [7] * 12, np.linspace(0.1, 0.9, 12))
    assert [step.value for step in ladder(flat)][1:] == ["–", "–", "–"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.9664, ".966"), (-0.486, "−.486"), (1.0, "1.000"), (-0.0001, "−.000"), (float("nan"), "–")]
)
def test_correlations_are_written_as_papers_do(value, text):
    assert drawing.r_text(value) == text
