"""Counting on a real local Ray cluster gives what one machine gives, to the bit, and goes on when a node dies."""

from __future__ import annotations

import numpy as np
import pytest

from tailwag.embed.corpus import Corpus
from tailwag.errors import TailwagError
from tailwag.retrieval.counting import CountQuery, count, where
from tailwag.retrieval.counting.cluster import Cluster

from ..corpora import clustered_unit, make_corpus, make_prototypes, rows_table
from ..ray_nodes import ray_nodes

pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(600)
DIMENSION = 24


@pytest.fixture(scope="module")
def nodes():
    with ray_nodes(2) as made:
        yield made


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    corpus = make_corpus(tmp_path_factory.mktemp("database"), clustered_unit(900, DIMENSION))
    for number in range(1, 9):
        corpus.append(rows_table(corpus.space, clustered_unit(300, DIMENSION, seed=number), prefix=f"{number}/"))
    return corpus


@pytest.fixture(scope="module")
def query():
    prototypes = make_prototypes(clustered_unit(6, DIMENSION, seed=77))
    thresholds = np.tile([0.55, 0.7, 0.9], (6, 1))
    return CountQuery(
        prototypes, thresholds, histogram=True, partials=True, top_k=5, best=2, margin=0.1, other_thresholds=thresholds
    )


def same(mine, others):
    for name in ("rows", "counts", "histogram", "margin_counts", "both_counts"):
        assert np.array_equal(getattr(mine, name), getattr(others, name)), name
    for mine_part, others_part in ((mine.top, others.top), (mine.best, others.best)):
        assert np.array_equal(mine_part.offsets, others_part.offsets)
        assert np.array_equal(mine_part.similarities, others_part.similarities)
    assert [(part.states, part.rows, part.digest) for part in mine.partials] == [
        (part.states, part.rows, part.digest) for part in others.partials
    ]
    assert all(
        np.array_equal(one.counts, other.counts) for one, other in zip(mine.partials, others.partials, strict=True)
    )


def test_a_cluster_gives_the_same_answer(nodes, corpus, query):
    on_cluster = count(corpus, query, cluster=Cluster())
    same(on_cluster, count(corpus, query))
    assert on_cluster.backend.endswith(" on a Ray cluster")


def test_a_control_holds_on_a_cluster_too(nodes, corpus, query):
    from dataclasses import replace

    half = replace(query, control=where("u < 0.5"))
    here = count(corpus, half)
    assert 0 < here.rows < len(corpus)
    same(count(corpus, half, cluster=Cluster()), here)


def test_bad_rows_are_refused_by_name(nodes, tmp_path, query):
    rows = clustered_unit(50, DIMENSION)
    corpus = make_corpus(tmp_path, rows)
    longer = rows_table(corpus.space, rows * np.float16(1.5), prefix="long/")
    import lance

    lance.write_dataset(longer, corpus.database.table_uri("made"), mode="append")
    said = []
    for cluster in (None, Cluster()):
        with pytest.raises(TailwagError, match="the image vector of 'long/0' and 99 others are not finite") as refused:
            count(Corpus.open(tmp_path, "made"), query, cluster=cluster)
        said.append(str(refused.value))
    assert said[0] == said[1]


def test_a_node_that_dies_does_not_change_the_answer(nodes, corpus, query):
    made, (first, _) = nodes

    class KillsANode:
        killed = False

        def advance(self, amount=1):
            if not self.killed:
                self.killed = True
                made.remove_node(first, allow_graceful=False)

    progress = KillsANode()
    same(count(corpus, query, progress=progress, cluster=Cluster()), count(corpus, query))
    assert progress.killed
