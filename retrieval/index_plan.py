"""Which kind of FAISS index suits a table of some size, and what it will need. Pure arithmetic.

Not here: building, saving and opening (`index.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from tailwag.errors import BadInput

IndexKind = Literal["flat", "ivf-flat", "ivf-pq"]
KINDS: tuple[IndexKind, ...] = get_args(IndexKind)
KIND_TITLES = {"flat": "Flat", "ivf-flat": "IVF-Flat", "ivf-pq": "IVF-PQ"}

# Up to here comparing with every row takes some ten milliseconds: lists would save nothing and could miss rows.
FLAT_ROWS = 50_000
# 5 million vectors of 512 float32 are 10 GB, what a workstation still holds; above, PQ needs a thirtieth of it.
IVF_FLAT_ROWS = 5_000_000
# k-means wants some 40 vectors a list at the least (FAISS warns below 39) and gains little above 256.
_TRAINING_ROWS_A_LIST = 64
_FEWEST_ROWS_A_LIST = 39
# 64 training rows a list times 32,768 lists of 512 float32 are 4.3 GB, the most that training may take.
_MOST_LISTS = 32_768
# Sub-vectors that FAISS's GPU kernels take (GpuIndexIVFPQ), so that one index serves both; 8 bits for the same reason.
_PQ_PARTS = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64)
_PQ_BITS = 8
_PQ_TRAINING_ROWS = 256 << _PQ_BITS  # FAISS takes no more than 256 a centroid
# Candidates fetched for each row asked for. PQ's distances are coarse, so the true neighbours lie further down; the
# others order by float32 and need only a little more than k.
_REFINE = {"flat": 2, "ivf-flat": 2, "ivf-pq": 16}
# FAISS keeps a row's number beside its vector in the lists of an IVF index.
_ID_BYTES = 8


@dataclass(frozen=True)
class IndexPlan:
    """What will be built.

    Attributes
    ----------
    kind
        ``flat``, ``ivf-flat`` or ``ivf-pq``.
    rows, dimension
        The table.
    nlist, nprobe
        Lists of an IVF index, and how many of them a search looks into; 0 for a flat one.
    pq_m, pq_bits
        Bytes and bits of a PQ code: so many sub-vectors of so many bits; 0 for the other kinds.
    training_rows
        Rows on which it is trained; 0 for a flat one.
    refine
        Candidates fetched from the index for each row asked for, before they are put in exact order.
    bytes
        What the index takes, on disk and in memory, to a few per cent.
    """

    kind: IndexKind
    rows: int
    dimension: int
    nlist: int
    nprobe: int
    pq_m: int
    pq_bits: int
    training_rows: int
    refine: int
    bytes: int

    @property
    def title(self) -> str:
        """The kind as FAISS's papers write it."""
        return KIND_TITLES[self.kind]

    @property
    def peak_bytes(self) -> int:
        """What building takes in memory: the index and the training rows in float32."""
        return self.bytes + self.training_rows * self.dimension * 4

    @property
    def rows_read(self) -> int:
        """Rows that building reads: to train, to add, and to compare with an exact search at the end."""
        return self.rows * (3 if self.training_rows else 2)


def plan_index(rows: int, dimension: int, kind: IndexKind | None = None) -> IndexPlan:
    """Which index suits a table of this size?

    Flat up to 50,000 rows, IVF-Flat up to 5 million, IVF-PQ above. nlist ≈ 4·√N, the middle of what FAISS's guide
    advises for a million vectors, at most 32,768 and with at least 39 rows a list; nprobe ≈ 2·√nlist, since
    captions lie apart from images and so need more lists than images would.

    Parameters
    ----------
    rows, dimension
        The table.
    kind
        Another kind than the one the size suggests.

    Raises
    ------
    BadInput
        When there are no rows, or too few to train PQ, or no such kind.

    Examples
    --------
    >>> plan = plan_index(1_000_000, 512)
    >>> plan.kind, plan.nlist, plan.nprobe
    ('ivf-flat', 4000, 126)
    """
    if kind is not None and kind not in KINDS:
        raise BadInput(f"no index kind {kind!r}: there are {', '.join(KINDS)}")
    if rows < 1:
        raise BadInput("the corpus has no rows: embed some before building an index")
    if kind is None:
        kind = "flat" if rows <= FLAT_ROWS else "ivf-flat" if rows <= IVF_FLAT_ROWS else "ivf-pq"
    if kind == "ivf-pq" and rows < 1 << _PQ_BITS:
        raise BadInput(f"an IVF-PQ index is trained on at least {1 << _PQ_BITS} rows, the corpus has {rows}: take flat")
    nlist = nprobe = pq_m = training_rows = 0
    code_bytes = dimension * 4
    if kind != "flat":
        nlist = max(1, min(round(4 * math.sqrt(rows)), rows // _FEWEST_ROWS_A_LIST, _MOST_LISTS))
        nprobe = min(nlist, max(1, round(2 * math.sqrt(nlist))))
        training_rows = nlist * _TRAINING_ROWS_A_LIST
        code_bytes += _ID_BYTES
    if kind == "ivf-pq":
        pq_m = max(parts for parts in _PQ_PARTS if dimension % parts == 0 and parts <= max(1, dimension // 2))
        training_rows = max(training_rows, _PQ_TRAINING_ROWS)
        code_bytes = pq_m + _ID_BYTES
    return IndexPlan(
        kind=kind,
        rows=rows,
        dimension=dimension,
        nlist=nlist,
        nprobe=nprobe,
        pq_m=pq_m,
        pq_bits=_PQ_BITS if pq_m else 0,
        training_rows=min(rows, training_rows),
        refine=_REFINE[kind],
        bytes=rows * code_bytes + nlist * dimension * 4 + (4 * dimension << _PQ_BITS if pq_m else 0),
    )
