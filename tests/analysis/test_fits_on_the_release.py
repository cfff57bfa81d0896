"""Every fit that is known of the released counts and accuracies comes out, to the last decimal that is known."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from tailwag.analysis.fits.concept_level import log_frequency, pearson_of_found, spearman
from tailwag.analysis.fits.moments import cluster_index, moments, slopes
from tailwag.analysis.fits.published import PROCEDURES, published_fit
from tailwag.analysis.fits.sensitivity import sensitivity_to_threshold
from tailwag.analysis.fits.settings import procedure_name
from tailwag.analysis.fits.together import FitSettings, fit_points
from tailwag.analysis.inputs.joining import join
from tailwag.analysis.inputs.released import Release

pytestmark = pytest.mark.photos

# model, binned r of joint, image and caption counts, joint r without ImageNet-Sketch, slope, r over concepts, ρ
CLASSIFICATION = [
    ("cc3m", "RN50", 0.966, 0.975, 0.924, 0.963, 8.59, 0.394, 0.607),
    ("cc3m", "ViT-B-16", 0.931, 0.972, 0.911, 0.893, 6.49, 0.355, 0.566),
    ("cc12m", "RN50", 0.928, 0.975, 0.953, 0.890, 6.64, 0.319, 0.497),
    ("cc12m", "ViT-B-16", 0.829, 0.951, 0.941, 0.780, 5.41, 0.277, 0.471),
    ("yfcc15m", "RN50", 0.958, 0.818, 0.854, 0.882, 5.55, 0.191, 0.263),
    ("yfcc15m", "RN101", 0.951, 0.893, 0.885, 0.877, 5.32, 0.193, 0.251),
    ("yfcc15m", "ViT-B-16", 0.963, 0.921, 0.882, 0.861, 5.83, 0.190, 0.269),
    ("laion400m", "ViT-B-32", 0.957, 0.948, None, 0.871, 5.23, 0.272, 0.231),
    ("laion400m", "ViT-B-16", 0.916, 0.907, None, 0.743, 4.22, 0.232, 0.182),
    ("laion400m", "ViT-L-14", 0.855, 0.873, None, 0.646, 3.78, 0.230, 0.163),
]
# model, r of the 4 drawn points, slope, r of all 7, r over concepts
RETRIEVAL = [
    ("cc3m", "RN50", 0.996, 7.01, 0.926, 0.322),
    ("cc3m", "ViT-B-16", 1.000, 6.34, 0.933, 0.279),
    ("cc12m", "RN50", 0.984, 5.99, 0.798, 0.289),
    ("cc12m", "ViT-B-16", 0.978, 5.82, 0.800, 0.295),
    ("yfcc15m", "RN50", 0.998, 5.59, 0.693, 0.228),
    ("yfcc15m", "RN101", 1.000, 5.06, 0.752, 0.221),
    ("yfcc15m", "ViT-B-16", 0.988, 5.05, 0.839, 0.231),
    ("laion400m", "ViT-B-32", 0.971, 3.51, 0.813, 0.271),
    ("laion400m", "ViT-B-16", 0.972, 3.04, 0.861, 0.258),
    ("laion400m", "ViT-L-14", 0.956, 2.76, 0.788, 0.254),
]
# r over all concepts of the 17 sets, pooled and with each set's mean removed. By which definition they come out was
# found by trying: log10(1 + count), without ImageNet-Sketch; of CC-12M they are RN50's.
WITHIN = [
    ("cc3m", "RN50", 0.61, 0.50),
    ("cc12m", "RN50", 0.51, 0.32),
    ("yfcc15m", "ViT-B-16", 0.36, 0.23),
    ("laion400m", "ViT-B-32", 0.27, 0.10),
    ("laion400m", "ViT-L-14", 0.21, 0.06),
]
R, RHO, SLOPE = 1e-3, 2e-3, 1e-2


@pytest.fixture(scope="module")
def points(data):
    release = Release(data / "data" / "paper")

    @lru_cache(maxsize=64)
    def of(pretraining, side="joint", task="classification", threshold=0.7):
        counts = release.frequencies(pretraining, side, threshold, task=task)
        return join(release.accuracies(pretraining, task=task), counts)

    return of


def rows(points, model, *, once=False):
    table = points.table[points.table["model"] == model]
    return table[table["task"] != "imagenet-sketch"] if once else table


def drawn(table, procedure):
    chosen = PROCEDURES[procedure]
    return published_fit(table["count"].to_numpy(), table["value"].to_numpy(), edges=chosen.edges, drawn=chosen.drawn)


@pytest.mark.parametrize("row", CLASSIFICATION, ids=lambda row: f"{row[0]}-{row[1]}")
def test_the_classification_figures(points, row):
    pretraining, model, joint, image, caption, joint_once, slope, concept_r, rho = row
    procedure = procedure_name(pretraining, "accuracy")
    table = rows(points(pretraining), model)
    fit = drawn(table, procedure)
    assert len(table) == 4469
    assert fit.r == pytest.approx(joint, abs=R) and fit.slope == pytest.approx(slope, abs=SLOPE)
    assert drawn(rows(points(pretraining, "image"), model), procedure).r == pytest.approx(image, abs=R)
    if caption is not None:
        by_words = rows(points(pretraining, "caption"), model, once=True)
        assert len(by_words) == 3469
        assert drawn(by_words, procedure).r == pytest.approx(caption, abs=R)
    assert drawn(rows(points(pretraining), model, once=True), procedure).r == pytest.approx(joint_once, abs=R)
    frequency, values = table["frequency"].to_numpy(), table["value"].to_numpy()
    assert pearson_of_found(frequency, values).value == pytest.approx(concept_r, abs=R)
    assert spearman(frequency, values).value == pytest.approx(rho, abs=RHO)


@pytest.mark.parametrize("row", RETRIEVAL, ids=lambda row: f"{row[0]}-{row[1]}")
def test_the_retrieval_figures(points, row):
    pretraining, model, r, slope, r_of_all, concept_r = row
    table = rows(points(pretraining, task="retrieval"), model)
    counts, values = table["count"].to_numpy(), table["value"].to_numpy()
    fit = drawn(table, procedure_name(pretraining, str(table["metric"].iloc[0])))
    assert fit.drawn.sum() == 4
    assert fit.r == pytest.approx(r, abs=R) and fit.slope == pytest.approx(slope, abs=SLOPE)
    assert published_fit(counts, values, edges=7, drawn=slice(0, 7)).r == pytest.approx(r_of_all, abs=R)
    assert pearson_of_found(counts, values).value == pytest.approx(concept_r, abs=R)


@pytest.mark.parametrize("row", WITHIN, ids=lambda row: f"{row[0]}-{row[1]}")
def test_within_test_sets_the_correlation_falls(points, row):
    pretraining, model, pooled, within = row
    table = rows(points(pretraining), model, once=True)
    _, index = cluster_index(table["task"].to_numpy())
    found = slopes(moments(log_frequency(table["frequency"].to_numpy()), 100 * table["value"].to_numpy(), index))
    assert found.pooled_r[0] == pytest.approx(pooled, abs=0.01)
    assert found.within_r[0] == pytest.approx(within, abs=0.01)
    if model == "ViT-L-14":
        assert found.within[0] == pytest.approx(1.1, abs=0.05)


def test_the_similarity_control(points):
    fit = drawn(rows(points("laion200m_train_test_sim_normalized", "image"), "ViT-B-32"), "similarity-control")
    assert (fit.r, fit.slope) == (pytest.approx(0.974, abs=R), pytest.approx(6.82, abs=SLOPE))


@pytest.mark.parametrize(("side", "as_drawn", "usual"), [("image", 0.930, 0.382), ("joint", 0.817, -0.486)])
def test_the_synthetic_set_as_drawn_and_with_the_usual_slice(points, side, as_drawn, usual):
    table = rows(points("synthci30m", side), "ViT-B-16")
    fit = drawn(table, "synthetic")
    assert fit.r == pytest.approx(as_drawn, abs=R)
    assert drawn(table, "classification").r == pytest.approx(usual, abs=R)
    assert any("decides the sign" in flag.text for flag in fit.flags if flag.severity == "warning")


def test_other_thresholds_of_the_tagger(points):
    tables = {threshold: rows(points("cc3m", threshold=threshold), "RN50") for threshold in (0.5, 0.6, 0.7)}
    first = tables[0.7]
    assert all((each["concept"].to_numpy() == first["concept"].to_numpy()).all() for each in tables.values())
    found = sensitivity_to_threshold(
        {threshold: each["count"].to_numpy() for threshold, each in tables.items()},
        first["value"].to_numpy(),
        first["task"].to_numpy(),
        edges=12,
        drawn=slice(1, 11),
    )
    assert found["r"].to_numpy() == pytest.approx([0.979, 0.969, 0.966], abs=R)
    assert found["slope"].to_numpy() == pytest.approx([9.52, 9.13, 8.59], abs=SLOPE)
    assert list(found["zeros"]) == [2102, 2297, 2477]


def test_everything_together_says_what_the_figure_hides(points):
    fits = fit_points(points("laion400m"), FitSettings(replicates=200), thresholds={0.7: points("laion400m")})
    assert [each.model for each in fits.models] == list(dict.fromkeys(points("laion400m").table["model"]))
    number = {(each.model, each.quantity): each for each in fits.numbers if each.section != "intervals"}
    assert number["ViT-L-14", "r of bin means"].value == pytest.approx(0.855, abs=R)
    assert number["ViT-L-14", "r of bin means, each test set once"].value == pytest.approx(0.646, abs=R)
    within = number["ViT-L-14", "slope within test sets"]
    assert within.value == pytest.approx(1.11, abs=0.01) and within.clusters == 17 and within.points == 3469
    assert within.lower < within.value < within.upper
    assert number["ViT-L-14", "slope of all concepts"].value > 3 * within.value
    assert number["", "slope within test sets, over models"].value == pytest.approx(
        np.mean([number[each.model, "slope within test sets"].value for each in fits.models])
    )
    text = " ".join(flag.text for flag in fits.flags if flag.severity == "warning")
    assert "ViT-L-14: most of the slope lies between test sets" in text
    assert "imagenet-sketch repeats imagenet" in text
    tested = [each for each in fits.numbers if np.isfinite(each.p) and each.section != "intervals"]
    assert all(each.holm >= each.p and each.benjamini_hochberg >= each.p for each in tested)
    assert all(np.isnan(each.holm) for each in fits.numbers if each.section == "intervals")
    assert number["ViT-L-14", "r of bin means at threshold 0.7"].value == pytest.approx(0.855, abs=R)
