"""Everything together: what fits of a small made set hold, what they say when something is missing, and refuse."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tailwag.analysis.fits.settings import FitSettings
from tailwag.analysis.fits.together import Fits, fit_points, procedure_name
from tailwag.analysis.inputs.points import POINT_COLUMNS, Points
from tailwag.errors import BadInput

QUICK = FitSettings(replicates=100)


def made(
    *, models=("small", "large"), tasks=("birds", "cars", "food"), of_each=60, seed=0, slope=0.04, **columns
) -> Points:
    """Points of a made pretraining set, a tenth of them never found; the slope is a share a decade."""
    generator = np.random.default_rng(seed)
    rows = []
    for place, task in enumerate(tasks):
        x = generator.normal(2 + place, 1, of_each)
        counts = np.where(generator.uniform(size=of_each) < 0.1, 0, np.round(10 ** np.clip(x, 0, 6)))
        for step, model in enumerate(models):
            values = 0.2 + 0.1 * step + 0.05 * place + slope * np.log10(1 + counts) + generator.normal(0, 0.03, of_each)
            for concept, (count, value) in enumerate(zip(counts, values, strict=True)):
                share = float(np.clip(value, 0, 1))
                names = (model, "made", task, f"{task} {concept}", "accuracy")
                rows.append((*names, share, np.nan, "joint", count, 1e7, count, np.nan, np.nan, ""))
    table = pd.DataFrame(rows, columns=list(POINT_COLUMNS))
    return Points(table.assign(**columns))


def numbers(fits: Fits, model: str = "") -> dict:
    return {each.quantity: each for each in fits.numbers if each.model == model and each.section != "intervals"}


def warnings(fits: Fits) -> str:
    return "\n".join(flag.text for flag in fits.flags)


@pytest.fixture(scope="module")
def fits() -> Fits:
    return fit_points(made(), QUICK)


def test_every_model_has_its_numbers_and_all_of_them_share_a_slope(fits):
    assert [each.model for each in fits.models] == ["small", "large"]
    for each in fits.models:
        own = numbers(fits, each.model)
        assert own["slope within test sets"].value == pytest.approx(4, abs=0.5)
        assert own["slope within test sets"].lower < 4 < own["slope within test sets"].upper
        assert own["r of bin means"].value == each.published.r and own["r of bin means"].p == each.published.p
        assert own["slope in birds"].clusters == 1 and own["slope between test sets"].points == 3
        assert own["times the data for 10 points more, by the slope within test sets"].value == pytest.approx(
            10 ** (10 / own["slope within test sets"].value)
        )
        assert each.numbers == tuple(number for number in fits.numbers if number.model == each.model)
    over = numbers(fits)["slope within test sets, over models"]
    apart = [numbers(fits, model)["slope within test sets"].value for model in ("small", "large")]
    assert over.value == pytest.approx(np.mean(apart)) and over.points == 180
    assert {(each.pretraining, each.side) for each in fits.numbers} == {("made", "joint")}
    assert len(fits.published) == 2 and len(fits.points) == 360


def test_no_two_numbers_of_a_model_share_a_name(fits):
    for model in ("small", "large", ""):
        names = [(each.section, each.quantity, each.method) for each in fits.numbers if each.model == model]
        assert len(names) == len(set(names))


def test_what_is_missing_is_said(fits):
    said = warnings(fits)
    assert "small: the binomial model was left out: nobody says how many test images" in said
    assert "small: errors of the frequencies are not allowed for: they come without intervals" in said
    assert "3 test sets are few" in said
    severities = [flag.severity for flag in fits.flags]
    assert severities == sorted(severities, key=lambda each: each != "warning")


def test_the_order_of_rows_changes_nothing():
    points = made(models=("one",))
    shuffled = Points(points.table.sample(frac=1, random_state=1))
    one, other = numbers(fit_points(points, QUICK), "one"), numbers(fit_points(shuffled, QUICK), "one")
    assert one.keys() == other.keys()
    for name, number in one.items():
        assert number.value == pytest.approx(other[name].value, nan_ok=True, rel=1e-4, abs=1e-6), name


def test_trials_intervals_and_similarity_bring_their_fits():
    plain = made(models=("one",))
    counts = plain.table["count"]
    points = Points(plain.table.assign(n=40.0, lower=np.floor(counts * 0.8), upper=np.ceil(counts * 1.25)))
    similarity = np.random.default_rng(2).uniform(size=len(points))
    fits = fit_points(points, QUICK, similarity=similarity, thresholds={0.5: points, 0.7: points})
    own = numbers(fits, "one")
    assert own["log odds within test sets"].value > 0 and own["dispersion"].value < 1
    assert own["slope within test sets, errors taken off"].value >= own["slope within test sets"].value
    assert own["r given similarity and test set"].value == pytest.approx(own["r within test sets"].value, abs=0.05)
    assert own["r of bin means at threshold 0.5"].value == own["r of bin means"].value
    assert "was left out" not in warnings(fits) and "not allowed for" not in warnings(fits)


def test_those_known_of_some_concepts_rest_on_these_and_say_so():
    table = made(models=("one",)).table
    known = table["task"] != "food"
    counts = table["count"].where(known)
    points = Points(table.assign(n=np.where(known, 50.0, np.nan), lower=counts, upper=2 * counts))
    fits = fit_points(points, QUICK, similarity=np.where(known, 0.5, np.nan))
    assert numbers(fits, "one")["log odds within test sets"].points == 120
    for text in ("rests on the 120 of 180", "rest on the 120 of 180", "60 of 180 concepts have no similarity"):
        assert text in warnings(fits)


def test_grades_of_frequencies_are_carried_into_the_fit():
    points = made()
    assert "graded" not in " ".join(flag.text for flag in fit_points(points).flags)
    points.table["grade"] = ["unsupported"] * 3 + ["fragile"] * 2 + ["sound"] * (len(points) - 5)
    told = {flag.text: flag.severity for flag in fit_points(points).flags if "graded" in flag.text}
    assert told == {
        f"3 of {len(points)} points have a frequency that is graded unsupported": "warning",
        f"2 of {len(points)} points have a frequency that is graded fragile": "note",
    }


def test_one_test_set_has_no_slope_between_and_says_so():
    fits = fit_points(made(models=("one",), tasks=("birds",)), QUICK)
    own = numbers(fits, "one")
    assert own["slope within test sets"].value == pytest.approx(own["slope of all concepts"].value)
    assert np.isfinite(own["slope within test sets"].lower) and "slope between test sets" not in own
    assert np.isnan(own["r of bin means"].lower) and np.isfinite(own["Spearman's ρ"].p)
    assert "there is one test set" in warnings(fits)


def test_a_repeated_test_set_counts_once_but_in_the_published_figure():
    plain = made(models=("one",), tasks=("imagenet", "cars")).table
    again = plain[plain["task"] == "imagenet"].assign(task="imagenet-sketch")
    points = Points(pd.concat([plain, again], ignore_index=True))
    fits = fit_points(points, QUICK)
    own = numbers(fits, "one")
    assert fits.models[0].published.concepts == 180 and fits.models[0].published_once.concepts == 120
    assert own["slope within test sets"].points == 120 and len(fits.points) == 120
    assert own["Spearman's ρ"].points == 180 and own["Spearman's ρ, each test set once"].points == 120
    assert "imagenet-sketch repeats imagenet and counts it twice" in warnings(fits)
    twice = fit_points(points, dataclasses.replace(QUICK, count_repeated=True))
    assert numbers(twice, "one")["slope within test sets"].points == 180
    other = fit_points(points, dataclasses.replace(QUICK, repeated_tasks=(("cars", "imagenet"),)))
    assert numbers(other, "one")["slope within test sets"].points == 120
    assert "cars repeats imagenet" in warnings(other)


def test_a_hidden_simpson_is_a_warning():
    table = made(models=("one",), tasks=tuple("abcdefghijkl"), of_each=30, slope=0.0).table
    order = {task: place for place, task in enumerate("abcdefghijkl")}
    table["count"] = table["frequency"] = np.round(
        10 ** (table["task"].map(order) / 3 + np.random.default_rng(0).uniform(size=len(table)))
    )
    fits = fit_points(Points(table), QUICK)
    assert "one: " not in warnings(fits) and "most of the slope lies between test sets" in warnings(fits)
    assert "the interval of the slope within test sets holds 0" in warnings(fits)
    assert numbers(fits, "one")["r of bin means"].value > 0.9


@pytest.mark.parametrize("column", ["count", "value"])
def test_a_constant_column_leaves_fits_out_instead_of_failing(column):
    points = made(models=("one",))
    table = points.table.assign(**{column: 1.0, **({"frequency": 1.0} if column == "count" else {})})
    fits = fit_points(Points(table), QUICK)
    own = numbers(fits, "one")
    assert np.isnan(own["r of bin means"].value) and np.isnan(own["Spearman's ρ"].value)
    assert "the published r is undefined" in warnings(fits) and "was left out" in warnings(fits)


def test_estimates_stand_in_for_counts_where_there_are_none():
    table = made(models=("one",)).table
    fits = fit_points(Points(table.assign(count=np.nan)), QUICK)
    assert fits.published[0].r == fit_points(Points(table), QUICK).published[0].r


def test_three_concepts_are_fitted_as_far_as_they_go():
    fits = fit_points(made(models=("one",), tasks=("birds",), of_each=3, seed=3), QUICK)
    assert numbers(fits, "one")["Spearman's ρ"].points == 3


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda table: table.iloc[:0], "no point to fit"),
        (lambda table: table.assign(side=["image"] + ["joint"] * (len(table) - 1)), "2 values of side"),
        (lambda table: table.assign(pretraining=["a"] + ["b"] * (len(table) - 1)), "2 values of pretraining"),
        (lambda table: pd.concat([table, table.head(1)]), "stands twice"),
    ],
)
def test_what_cannot_be_fitted_together_is_refused(change, match):
    with pytest.raises(BadInput, match=match):
        fit_points(Points(change(made().table)), QUICK)


def test_similarities_and_thresholds_must_be_of_the_same_points():
    points = made()
    with pytest.raises(BadInput, match="3 similarities for 360 points"):
        fit_points(points, QUICK, similarity=np.ones(3))
    with pytest.raises(BadInput, match="another threshold have none of 'large'"):
        fit_points(points, QUICK, thresholds={0.5: made(models=("small",))})


@pytest.mark.parametrize("wrong", [{"procedure": "mine"}, {"level": 1.0}, {"level": 0.2}, {"replicates": 10}])
def test_settings_outside_their_range_are_refused(wrong):
    with pytest.raises(BadInput):
        FitSettings(**wrong)


def test_the_procedure_follows_the_pretraining_set_and_metric():
    assert procedure_name("cc3m", "accuracy") == "classification"
    assert procedure_name("laion200m_train_test_sim_normalized", "accuracy") == "similarity-control"
    assert procedure_name("laion400m", "accuracy") == "laion400m"
    assert procedure_name("synthci30m", "accuracy") == "synthetic"
    assert procedure_name("laion400m", "text-to-image recall@10") == "retrieval"
    fits = fit_points(made(models=("one",)), dataclasses.replace(QUICK, procedure="retrieval"))
    assert len(fits.published[0].edges) == 7
