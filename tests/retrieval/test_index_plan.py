"""The plan of an index follows from the table's size alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailwag.errors import BadInput
from tailwag.retrieval.index_plan import FLAT_ROWS, IVF_FLAT_ROWS, KINDS, plan_index


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        (1, "flat"),
        (FLAT_ROWS, "flat"),
        (FLAT_ROWS + 1, "ivf-flat"),
        (IVF_FLAT_ROWS, "ivf-flat"),
        (IVF_FLAT_ROWS + 1, "ivf-pq"),
    ],
)
def test_the_kind_follows_from_the_size(rows, kind):
    assert plan_index(rows, 512).kind == kind


def test_four_hundred_million_rows_fit_into_memory():
    plan = plan_index(400_000_000, 512)
    assert plan.kind == "ivf-pq" and plan.pq_m == 64
    assert plan.bytes < 30e9 and plan.training_rows * 512 * 4 < 5e9


@given(st.integers(256, 10**10), st.sampled_from([32, 384, 512, 640, 768, 1024, 1152, 1280]), st.sampled_from(KINDS))
def test_a_plan_is_one_that_faiss_accepts(rows, dimension, kind):
    plan = plan_index(rows, dimension, kind)
    assert plan.training_rows <= rows
    if kind == "flat":
        assert plan.nlist == plan.nprobe == plan.pq_m == 0
    else:
        assert 1 <= plan.nprobe <= plan.nlist <= plan.training_rows
    if kind == "ivf-pq":
        assert dimension % plan.pq_m == 0 and plan.pq_m <= 64 and plan.training_rows >= 256


def test_what_cannot_be_built_is_refused():
    with pytest.raises(BadInput, match="no rows"):
        plan_index(0, 512)
    with pytest.raises(BadInput, match="at least 256 rows"):
        plan_index(255, 512, "ivf-pq")
    with pytest.raises(BadInput, match="no index kind 'hnsw'"):
        plan_index(10, 512, "hnsw")  # type: ignore[arg-type]
