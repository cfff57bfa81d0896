"""A corpus that stays on a device: read once, then asked again and again without reading.

Not here: how rows on a device are counted (`fused.py`, `torch_form.py`), counting while a table is read (`engine.py`).
"""

from __future__ import annotations

import os
import time
from collections import deque
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch

from tailwag.errors import BadInput
from tailwag.progress import NoProgress, Progress

from ....embed.corpus import Corpus, Side, check_side
from ....embed.scanning import Block
from ..controls import Control
from ..engine import check_space, make_result
from ..passes import FIRST_ROWS, PAIRS_A_TILE, BadRows
from ..query import CountQuery
from ..result import CountResult
from ..tally import Tally
from . import device_work
from .pipeline import DeviceWork, Uploads
from .torch_form import are_unit

# Kept free for buffers and sums while counting.
_WORKING_ROOM = {"cuda": 2 << 30, "cpu": 256 << 20}
# Launches that are under way at once.
_IN_FLIGHT = 2


class Resident:
    """The vectors of a corpus at one version, or of a sample of it, on a device.

    Made by `Resident.load`.

    Attributes
    ----------
    corpus
        What was loaded, at its version.
    side
        Which vector is compared.
    control
        Which rows were loaded; None for all.
    device
        What torch calls it.
    bytes
        Memory that the vectors take on the device.

    Examples
    --------
    >>> resident = Resident.load(corpus, control=sample(0.1))     # doctest: +SKIP
    >>> print(resident.count(CountQuery(prototypes, 0.27))[0])    # doctest: +SKIP
    """

    def __init__(
        self,
        corpus: Corpus,
        side: Side,
        control: Control | None,
        offsets: np.ndarray,
        rows: torch.Tensor,
        other: torch.Tensor | None,
    ) -> None:
        self.corpus, self.side, self.control = corpus, side, control
        self.device = str(rows.device)
        self.bytes = rows.nbytes + (0 if other is None else other.nbytes)
        self._offsets, self._rows, self._other = offsets, rows, other

    @classmethod
    def load(
        cls,
        corpus: Corpus,
        side: Side = "image",
        *,
        device: str = "cuda",
        control: Control | None = None,
        both: bool = False,
        progress: Progress | None = None,
    ) -> Resident:
        """Read vectors to a device, if there is room.

        Parameters
        ----------
        corpus
            The corpus at one version.
        side
            Which vector will be compared.
        device
            What torch calls it: ``"cuda:0"``, ``"cpu"``.
        control
            Which rows; None for all.
        both
            Whether the other side is wanted too, for queries with `other_thresholds`.
        progress
            Advanced by the rows that have arrived.

        Raises
        ------
        BadInput
            When they do not fit; says what they need and what there is.
        TailwagError
            When rows cannot be read, or are not finite or not of unit length.
        """
        check_side(side)
        progress = progress or NoProgress()
        target = torch.device(device)
        mask = control.mask(corpus) if control is not None else None
        count = len(corpus) if mask is None else mask.count
        shape = (count, corpus.space.dimension)
        needed, free = memory_needed(*shape, both=both), memory_free(target)
        if needed + _WORKING_ROOM[target.type] > free:
            raise BadInput(
                f"{count:,} rows of corpus {corpus.name!r} take {_gigabytes(needed)} on {device}, and of the "
                f"{_gigabytes(free)} that are free {_gigabytes(_WORKING_ROOM[target.type])} are needed for counting: "
                "load a sample, as with control=sample(0.1), or count from the table"
            )
        sides: list[Side] = [side, *(other for other in ("image", "text") if both and other != side)]
        tensors = [torch.empty(shape, dtype=torch.float16, device=target) for _ in sides]
        uploads = Uploads(target, corpus.space.dimension)
        offsets, bad_rows, start = np.empty(count, np.int64), BadRows(), 0
        for block in corpus.scan(side, both=both, mask=mask):
            stop = start + len(block.vectors)
            offsets[start:stop] = block.offsets
            for name, tensor, vectors in zip(sides, tensors, _vectors(block), strict=True):
                tensor[start:stop] = uploads.put(vectors)
                refused = torch.nonzero(~are_unit(tensor[start:stop])).cpu().numpy()[:, 0]  # waits for the copy
                bad_rows.note(name, block.offsets, refused)
            progress.advance(stop - start)
            start = stop
        bad_rows.refuse(corpus)
        return cls(corpus, side, control, offsets, tensors[0], tensors[1] if both else None)

    def __len__(self) -> int:
        return len(self._offsets)

    def __repr__(self) -> str:
        under = f" with {self.control.name}" if self.control is not None else ""
        return f"Resident({self.corpus!r}, {len(self):,} rows{under}, {_gigabytes(self.bytes)} on {self.device})"

    def count(self, query: CountQuery, corpus: Corpus | None = None) -> CountResult:
        """How many of the rows lie at or above each threshold? The same answers as `count`, without reading.

        Parameters
        ----------
        query
            Of this side. Its control must be this one's, or None, which means the same here.
        corpus
            What is asked about; None for whatever is loaded.

        Raises
        ------
        SpaceMismatch
            When the prototypes live in another space than the corpus.
        BadInput
            When another corpus, version, side or control is asked for, or something that was not loaded.
        """
        self._require_same(query, corpus)
        check_space(self.corpus, query)
        if query.control is None and self.control is not None:
            query = replace(query, control=self.control)
        start = time.perf_counter()
        work, fused = device_work(self.device, query.prototypes.vectors, query.asked())
        tally = Tally(query)
        self._run(work, query, tally)
        counts, histogram = work.sums()
        tally.counts += counts
        if histogram is not None:
            tally.add_histogram(histogram)
        backend = "cuda" if fused else "cuda-torch"
        return make_result(self.corpus, query, tally, backend, time.perf_counter() - start)

    def _run(self, work: DeviceWork, query: CountQuery, tally: Tally) -> None:
        pairs = query.asked().pairs
        most = min(work.most_rows, max(FIRST_ROWS, PAIRS_A_TILE // len(query.prototypes))) if pairs else work.most_rows
        size = FIRST_ROWS if query.top_k else most
        waiting: deque[tuple[slice, Any]] = deque()
        start = 0
        while start < len(self) or waiting:
            if start < len(self):
                here = slice(start, min(start + size, len(self)))
                floors = tally.floors() if pairs else None
                waiting.append((here, work.submit(self._rows[here], floors, checked=True)))
                start, size = here.stop, min(2 * size, most)
            if len(waiting) > _IN_FLIGHT or start == len(self):
                here, submitted = waiting.popleft()
                other = None if self._other is None else cast(Any, _OnDevice(self._other[here]))
                rows = cast(Any, _OnDevice(self._rows[here]))
                tally.add(self._offsets[here], rows, other, work.collect(submitted))

    def _require_same(self, query: CountQuery, corpus: Corpus | None) -> None:
        here = f"corpus {self.corpus.name!r} at version {self.corpus.version}"
        if corpus is not None:
            asked_for, loaded = ((one.database.uri, one.name, one.version, one.space) for one in (corpus, self.corpus))
            if asked_for != loaded:
                raise BadInput(
                    f"{here} is on {self.device}, and corpus {corpus.name!r} at version {corpus.version} in "
                    f"{corpus.database.uri} was asked for: load that"
                )
        if query.side != self.side:
            raise BadInput(
                f"the {self.side} vectors of {here} are on {self.device}, not the {query.side} ones: load them"
            )
        if query.control is not None and (self.control is None or query.control.describe() != self.control.describe()):
            loaded = f"only rows with {self.control.name} are" if self.control is not None else "all rows are"
            raise BadInput(
                f"of {here} {loaded} on {self.device}, and those with {query.control.name} were asked for: load them, "
                "or count from the table"
            )
        if query.other_thresholds is not None and self._other is None:
            raise BadInput(f"only the {self.side} vectors of {here} are on {self.device}: load with both=True")
        if query.partials:
            raise BadInput("parts and their digests are made while the table is read: count from the table")


def memory_needed(rows: int, dimension: int, *, both: bool = False) -> int:
    """How many bytes do the float16 vectors of one side of some rows take, or of both?"""
    return 2 * rows * dimension * (2 if both else 1)


def memory_free(device: torch.device) -> int:
    """How many bytes are free on a device?"""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class _OnDevice:
    """Rows on a device, of which only those come back to the host that are asked for by position."""

    def __init__(self, rows: torch.Tensor) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        return self._rows[torch.from_numpy(places).to(self._rows.device)].cpu().numpy()


def _vectors(block: Block) -> list[np.ndarray]:
    return [block.vectors] if block.other is None else [block.vectors, block.other]


def _gigabytes(amount: int) -> str:
    return f"{amount / 1e9:.2f} GB"
