"""FAISS indices for top-k search: built from a corpus in blocks, saved beside it, opened when current.

Not here: which kind suits (`index_plan.py`), what is recorded and refused (`index_manifest.py`), ordering candidates by
the stored vectors (`search.py`). FAISS never counts: a top-k list does not say how many there are.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tailwag.errors import BadInput, NotFound, TailwagError
from tailwag.progress import NoProgress, Progress

from ..embed.corpus import Corpus, Side, check_side, is_unit
from ..embed.locking import only_writer
from .index_gpu import Gpu, faiss_reason, find_gpu
from .index_manifest import (
    IndexDescription,
    Manifest,
    describe_indices,
    file_sha256,
    has_index,
    index_folder,
    rebuild_command,
    witnesses,
)
from .index_plan import IndexKind, IndexPlan, plan_index
from .prototypes import PrototypeSet
from .search import most_similar, rerank

__all__ = [
    "Index",
    "IndexDescription",
    "IndexPlan",
    "build_index",
    "describe_indices",
    "has_index",
    "open_index",
    "plan_index",
]

# FAISS's GPU indices select no more than this many (GpuIndex::search).
_MOST_GPU_CANDIDATES = 2048
_RECALL_K = 20
_RECALL_QUERIES = 32


class Index:
    """An opened index of one side of a corpus at one version. Made by `open_index`.

    Attributes
    ----------
    manifest
        What was recorded when it was built.
    on_gpu
        Whether it was loaded to a GPU.
    """

    def __init__(self, manifest: Manifest, faiss_index: Any, on_gpu: bool) -> None:
        self.manifest = manifest
        self.on_gpu = on_gpu
        self._faiss_index = faiss_index

    @property
    def plan(self) -> IndexPlan:
        """Kind and parameters."""
        return self.manifest.plan

    def candidates(self, prototypes: np.ndarray, k: int, nprobe: int | None = None) -> list[np.ndarray]:
        """Find rows that are likely among the k most similar: some more than k, in no order that counts.

        Parameters
        ----------
        prototypes
            (C, d) float16.
        k
            How many rows will be kept.
        nprobe
            How many of the lists are looked into; None for the number in the plan.

        Returns
        -------
        list[numpy.ndarray]
            For each prototype (m,) int64 offsets. m can be less than k when few lists are looked into.

        Raises
        ------
        BadInput
            When the index has no lists, or nprobe is less than 1, or k is more than a GPU index can give.
        """
        return _candidates(self._faiss_index, self.plan, prototypes, k, self._nprobe(nprobe), self.on_gpu)

    def describe_search(self, nprobe: int | None = None) -> str:
        """Say in words how a search goes: ``IVF-Flat index, nprobe 30 of 894, …``."""
        parts = [f"{self.plan.title} index"]
        if self.plan.nlist:
            parts.append(f"nprobe {self._nprobe(nprobe)} of {self.plan.nlist:,} lists")
        parts.append("candidates put in exact order")
        if nprobe is None or self._nprobe(nprobe) == self.plan.nprobe:
            parts.append(_describe_recall(self.manifest))
        return ", ".join(parts)

    def require_for(self, corpus: Corpus, side: Side) -> None:
        """Refuse to answer for another corpus, version or side than the one that was indexed.

        Raises
        ------
        BadInput
            Naming both.
        """
        mine = (self.manifest.corpus, self.manifest.version, self.manifest.side)
        asked = (corpus.name, corpus.version, side)
        if mine != asked:
            raise BadInput(
                f"this is an index of {mine[0]!r}, version {mine[1]}, {mine[2]} vectors; the search is in "
                f"{asked[0]!r}, version {asked[1]}, {asked[2]} vectors: open its own index"
            )

    def _nprobe(self, nprobe: int | None) -> int:
        if nprobe is None:
            return self.plan.nprobe
        if not self.plan.nlist:
            raise BadInput("a Flat index has no lists to look into: leave out --nprobe")
        if nprobe < 1:
            raise BadInput(f"nprobe is {nprobe}: look into at least one of the index's {self.plan.nlist:,} lists")
        return min(nprobe, self.plan.nlist)


def build_index(
    corpus: Corpus,
    side: Side = "image",
    kind: IndexKind | None = None,
    progress: Progress | None = None,
    device: str | None = None,
) -> Manifest:
    """Build the index of one side and save it beside the corpus, in place of an older one.

    An interrupted build leaves the older index as it was.

    Parameters
    ----------
    corpus
        What is indexed, at its version.
    side
        ``"image"``, or ``"text"`` for the captions' vectors.
    kind
        None for the kind that suits the number of rows (`plan_index`).
    progress
        Advanced by the rows read, `IndexPlan.rows_read` in all.
    device
        ``cpu``, ``cuda``, ``cuda:1``; None takes a GPU where FAISS finds one.

    Returns
    -------
    Manifest
        What was built, and the recall that was measured.

    Raises
    ------
    BadInput
        When the corpus is empty or too small for the kind, or on an object store, or the device is not there.
    TailwagError
        When another build of it is running, or the disk or the GPU has not enough room.
    """
    import faiss

    check_side(side)
    progress = progress or NoProgress()
    plan = plan_index(len(corpus), corpus.space.dimension, kind)
    gpu = find_gpu(device)
    folder = index_folder(corpus, side)
    folder.mkdir(parents=True, exist_ok=True)
    with only_writer(folder / ".lock", f"another build of the index in {folder} is running: wait for it"):
        free = shutil.disk_usage(folder).free
        if free < plan.bytes * 1.1:
            raise TailwagError(
                f"the index needs {plan.bytes / 1e9:,.1f} GB and {folder} has {free / 1e9:,.1f} GB free: make room"
            )
        index = _filled(plan, corpus, side, gpu, progress)
        recall, queries = _measure_recall(index, plan, corpus, side, progress)
        unfinished = folder / ".building"
        try:
            faiss.write_index(index, str(unfinished))
            _check_written(unfinished, index)
            digest = file_sha256(unfinished)
            manifest = Manifest(
                corpus=corpus.name,
                version=corpus.version,
                side=side,
                witnesses=witnesses(corpus),
                space=corpus.space,
                plan=replace(plan, bytes=unfinished.stat().st_size),
                faiss=faiss.__version__,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                file=f"index-{digest[:16]}.faiss",
                bytes=unfinished.stat().st_size,
                sha256=digest,
                recall=recall,
                recall_k=min(_RECALL_K, plan.rows),
                recall_queries=queries,
            )
            # The old manifest names the old file until the new manifest replaces it.
            unfinished.replace(folder / manifest.file)
        except (RuntimeError, OSError) as error:  # faiss raises RuntimeError for a full disk
            raise TailwagError(f"the index cannot be written to {folder} ({faiss_reason(error)}): make room") from error
        finally:
            unfinished.unlink(missing_ok=True)
        manifest.write(folder)
        for path in folder.glob("index-*.faiss"):
            if path.name != manifest.file:
                path.unlink()
    return manifest


def open_index(corpus: Corpus, side: Side = "image", device: str | None = None) -> Index:
    """Open the index of one side, when it is one of this corpus at this version.

    Parameters
    ----------
    corpus
        The corpus, at the version that is to be searched.
    side
        ``"image"`` or ``"text"``.
    device
        ``cpu``, ``cuda``, ``cuda:1``; None takes a GPU where FAISS finds one. On a CPU the file is mapped, not read:
        a search loads the lists that it looks into.

    Raises
    ------
    NotFound
        When there is none.
    StaleIndex, SpaceMismatch
        When it was built for another version, other rows or another space.
    BadInput, TailwagError
        When it is damaged or of another format.
    """
    import faiss

    check_side(side)
    folder = index_folder(corpus, side)
    if not has_index(corpus, side):
        raise NotFound(f"corpus {corpus.name!r} has no {side} index: run `{rebuild_command(corpus, side)}`")
    manifest = Manifest.read(folder)
    manifest.check(corpus, folder)
    gpu = find_gpu(device)
    path = folder / manifest.file
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC if gpu is None else 0)
    except RuntimeError as error:
        raise TailwagError(
            f"index file {path} cannot be opened ({faiss_reason(error)}): "
            f"run `{rebuild_command(corpus, side)}`, or pass --exact"
        ) from error
    if index.ntotal != manifest.plan.rows or index.d != corpus.space.dimension:
        raise TailwagError(
            f"index file {path} holds {index.ntotal} vectors of {index.d}, its manifest says {manifest.plan.rows} of "
            f"{corpus.space.dimension}: run `{rebuild_command(corpus, side)}`, or pass --exact"
        )
    return Index(manifest, index if gpu is None else gpu.load(index, manifest.plan), gpu is not None)


def _filled(plan: IndexPlan, corpus: Corpus, side: Side, gpu: Gpu | None, progress: Progress) -> Any:
    """Train an index and add every row; give it back on the CPU."""
    import faiss

    index = _empty_index(plan)
    if gpu is not None:
        index = gpu.load(index, plan)
    try:
        if plan.training_rows:
            index.train(_training_sample(plan, corpus, side, progress))
        for block in corpus.scan(side):
            wide = block.vectors.astype(np.float32)
            _refuse_unfit(block.vectors, block.offset)
            index.add(wide)
            progress.advance(len(wide))
    except RuntimeError as error:
        where = "on the GPU, pass --device cpu" if gpu is not None else "in memory"
        raise TailwagError(f"FAISS could not build the index {where} ({faiss_reason(error)})") from error
    return index if gpu is None else faiss.index_gpu_to_cpu(index)


def _refuse_unfit(vectors: np.ndarray, offset: int) -> None:
    bad = np.flatnonzero(~is_unit(vectors))
    if len(bad):
        raise TailwagError(
            f"the vector of row {offset + int(bad[0])} is not finite or not of unit length ({len(bad)} such rows near "
            "it): the table was not written by tailwag or is damaged; embed it again"
        )


def _empty_index(plan: IndexPlan) -> Any:
    import faiss

    if plan.kind == "flat":
        return faiss.IndexFlatIP(plan.dimension)
    quantizer = faiss.IndexFlatIP(plan.dimension)
    if plan.kind == "ivf-flat":
        index = faiss.IndexIVFFlat(quantizer, plan.dimension, plan.nlist, faiss.METRIC_INNER_PRODUCT)
    else:
        # index_factory would also order the codes for polysemous search, which is not used: most of the training time.
        index = faiss.IndexIVFPQ(
            quantizer, plan.dimension, plan.nlist, plan.pq_m, plan.pq_bits, faiss.METRIC_INNER_PRODUCT
        )
        # Fewer rows than FAISS would like only make a coarser code; it would say so on stderr, once a sub-vector.
        index.pq.cp.min_points_per_centroid = 1
    return index


def _training_sample(plan: IndexPlan, corpus: Corpus, side: Side, progress: Progress) -> np.ndarray:
    """Take evenly spaced rows, at most `training_rows` of them, as float32: neighbours in a shard are alike."""
    stride = -(-plan.rows // plan.training_rows)
    sample = np.empty((-(-plan.rows // stride), plan.dimension), dtype=np.float32)
    for block in corpus.scan(side):
        first = -block.offset % stride
        taken = block.vectors[first::stride]
        start = (block.offset + first) // stride
        sample[start : start + len(taken)] = taken
        progress.advance(len(block.vectors))
    return sample


def _measure_recall(index: Any, plan: IndexPlan, corpus: Corpus, side: Side, progress: Progress) -> tuple[float, int]:
    """Which share of the exact nearest rows does a search find? Also how many queries that was seen on.

    Equal similarities are interchangeable: what counts is to reach the similarity of the exact k-th row.
    """
    other: Side = "text" if side == "image" else "image"
    offsets = np.unique(np.linspace(0, plan.rows - 1, _RECALL_QUERIES).astype(np.int64))
    column = corpus.take_offsets(offsets, [other]).column(0).combine_chunks()
    queries = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, plan.dimension)
    k = min(_RECALL_K, plan.rows)
    names = tuple(map(str, offsets))
    exact = most_similar(corpus, PrototypeSet(names, queries, corpus.space, names), side, k, progress)
    found = rerank(corpus, side, queries, _candidates(index, plan, queries, k, plan.nprobe, False), k)
    reached = [int((own >= best[-1]).sum()) / k for (_, own), (_, best) in zip(found, exact, strict=True)]
    return float(np.mean(reached)), len(queries)


def _candidates(
    index: Any, plan: IndexPlan, prototypes: np.ndarray, k: int, nprobe: int, on_gpu: bool
) -> list[np.ndarray]:
    import faiss

    wanted = min(plan.rows, k * plan.refine)
    if on_gpu:
        if k > _MOST_GPU_CANDIDATES:
            raise BadInput(f"on a GPU an index gives at most {_MOST_GPU_CANDIDATES:,} rows: pass --device cpu")
        wanted = min(wanted, _MOST_GPU_CANDIDATES)
    parameters = None
    if plan.nlist:
        parameters = faiss.SearchParametersIVF()
        parameters.nprobe = nprobe
    _, offsets = index.search(np.ascontiguousarray(prototypes, dtype=np.float32), wanted, params=parameters)
    return [row[row >= 0] for row in offsets]  # -1 stands where the lists held too few


def _check_written(path: Path, index: Any) -> None:
    import faiss

    written = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    if (written.ntotal, written.d) != (index.ntotal, index.d):
        raise OSError(f"read back {written.ntotal} vectors, wrote {index.ntotal}")


def _describe_recall(manifest: Manifest) -> str:
    queries = "captions" if manifest.side == "image" else "images"
    return f"recall@{manifest.recall_k} {manifest.recall:.3f} over {manifest.recall_queries} {queries} when built"
