"""Rows drawn from strata: those that belong there, each equally likely, the same with the same seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tailwag.analysis.calibration.anchored import anchored_frequencies
from tailwag.analysis.calibration.audit_rows import draw_rows
from tailwag.analysis.calibration.strata import Stratum, lay_strata
from tailwag.errors import BadInput
from tailwag.retrieval.counting.bins import bin_of
from tailwag.retrieval.counting.query import Mentions
from tailwag.retrieval.counting.reference import similarities

from ..corpora import make_corpus, random_unit

ROWS, CONCEPTS = 3_000, 3
CUTS = (900, 1000, 1100, 1300)


def some_stratum() -> Stratum:
    rows = np.zeros(2048, dtype=np.int64)
    rows[1000:1400] = 100
    mentions = np.where(np.arange(2048) > 1300, rows // 2, 0)
    (frequency,) = anchored_frequencies(rows[None], mentions[None])
    return lay_strata(rows, mentions, frequency)[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A corpus, prototypes, mentions, strata that hold all rows, and (brute force) which rows are whose."""
    vectors = random_unit(ROWS, 16, seed=1)
    corpus = make_corpus(tmp_path_factory.mktemp("drawn"), vectors)
    prototypes = random_unit(CONCEPTS, 16, seed=2)
    generator = np.random.default_rng(3)
    named = generator.random((ROWS, CONCEPTS)) < 0.1
    offsets, concepts = np.nonzero(named)
    # A row may stand several times.
    mentions = Mentions(np.repeat(offsets, 2), np.repeat(concepts, 2).astype(np.int32))
    bins = bin_of(similarities(vectors, prototypes))
    members, strata = [], []
    some = some_stratum()
    for concept in range(CONCEPTS):
        own, rows_of = [], []
        for name in (True, False):
            for first, last in zip((0, *CUTS), (*CUTS, 2048), strict=True):
                rows = np.flatnonzero(
                    (named[:, concept] == name) & (bins[:, concept] >= first) & (bins[:, concept] < last)
                )
                own.append(replace(some, named=name, first=first, last=last, rows=len(rows)))
                rows_of.append(rows)
        members.append(rows_of)
        strata.append(tuple(own))
    return corpus, prototypes, mentions, strata, members


def test_every_row_is_drawn_from_the_stratum_that_holds_it(made):
    corpus, prototypes, mentions, strata, members = made
    drawn = draw_rows(corpus, prototypes, strata, mentions, ROWS)
    for own, expected in zip(drawn, members, strict=True):
        for rows, there in zip(own, expected, strict=True):
            assert sorted(rows.tolist()) == there.tolist()


def test_fewer_rows_are_the_beginning_of_more(made):
    corpus, prototypes, mentions, strata, _ = made
    few, many = (draw_rows(corpus, prototypes, strata, mentions, most, seed=5) for most in (7, 40))
    for own, longer in zip(few, many, strict=True):
        for rows, more in zip(own, longer, strict=True):
            assert len(rows) == min(7, len(more)) and rows.tolist() == more[:7].tolist()


def test_seeds_and_concepts_draw_differently(made):
    corpus, prototypes, mentions, strata, _ = made
    first, again, other = (draw_rows(corpus, prototypes, strata, mentions, 20, seed=seed) for seed in (0, 0, 1))
    assert all((a == b).all() for x, y in zip(first, again, strict=True) for a, b in zip(x, y, strict=True))
    assert any(a.tolist() != b.tolist() for x, y in zip(first, other, strict=True) for a, b in zip(x, y, strict=True))


def test_each_row_of_a_stratum_is_as_likely_as_the_others(made):
    corpus, prototypes, mentions, strata, members = made
    largest = max(range(len(strata[0])), key=lambda position: strata[0][position].rows)
    only = [(strata[0][largest],)]
    first = Mentions(mentions.offsets[mentions.concepts == 0], mentions.concepts[mentions.concepts == 0])
    times = np.zeros(ROWS)
    draws, most = 60, 100
    for seed in range(draws):
        times[draw_rows(corpus, prototypes[:1], only, first, most, seed=seed)[0][0]] += 1
    rows = members[0][largest]
    expected = draws * most / len(rows)
    assert times.sum() == times[rows].sum() == draws * most
    # χ² over rows: its mean is their number, its deviation √(2 · rows), a little less without replacement.
    chi = ((times[rows] - expected) ** 2 / expected).sum()
    assert abs(chi - len(rows) * (1 - most / len(rows))) < 5 * np.sqrt(2 * len(rows))


def test_nothing_is_drawn_from_a_stratum_out_of_reach_and_the_others_stay_as_they_were(made):
    corpus, prototypes, mentions, strata, _ = made
    closed = [tuple(replace(one, in_reach=place != len(own) - 1) for place, one in enumerate(own)) for own in strata]
    before, after = (draw_rows(corpus, prototypes, each, mentions, 20) for each in (strata, closed))
    for old, new in zip(before, after, strict=True):
        assert len(old[-1]) == 20 and not len(new[-1])
        assert all((a == b).all() for a, b in zip(old[:-1], new[:-1], strict=True))


def test_strata_of_another_corpus_are_refused(made):
    corpus, prototypes, mentions, strata, _ = made
    wrong = [(replace(strata[0][0], rows=strata[0][0].rows + 1), *strata[0][1:]), *strata[1:]]
    with pytest.raises(BadInput, match="begin a new audit"):
        draw_rows(corpus, prototypes, wrong, mentions, 5)
