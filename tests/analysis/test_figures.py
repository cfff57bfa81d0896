"""The figure shows every concept, zeros included, and is the same every time."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np

from tailwag.analysis.figures import counted_against_true, to_svg

COUNTED, TRUTH = np.array([0, 12, 300, 9]), np.array([3, 10, 0, 9])
NAMES, FAMILIES = ["zorv", "a & b", "<red>", "two"], ["kind", "kind", "colour", "number"]


def test_every_concept_is_a_point_and_the_farthest_are_named():
    figure = counted_against_true(COUNTED, TRUTH, NAMES, FAMILIES, labelled=2)
    points = np.concatenate([each.get_offsets() for each in figure.axes[0].collections if len(each.get_offsets()) < 5])
    drawn = {tuple(point) for point in points}
    assert {(3.0, 0.5), (10.0, 12.0), (0.5, 300.0), (9.0, 9.0)} <= drawn
    assert {text.get_text() for text in figure.axes[0].texts} == {"<red>", "zorv"}


def test_the_svg_is_well_formed_escaped_and_the_same_each_time():
    first, second = (to_svg(counted_against_true(COUNTED, TRUTH, NAMES, FAMILIES)) for _ in range(2))
    assert first == second
    ElementTree.fromstring(first)
    assert "&lt;red&gt;" in first
    assert not re.search(r'(href|src)="(?!#)', first)
