"""Counting on a Ray cluster: the same passes, over consecutive parts of the table, on every node; the sums are added.

Integers are added, and similarities settled where the rows are, so that the answer is the one that a single machine
gives, to the bit. The database must be reachable under one name from every node. Needs the extra `ray`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tailwag.errors import TailwagError
from tailwag.progress import NoProgress, Progress

from ...embed.corpus import Corpus
from ...embed.ray_cluster import join_cluster, nodes_of
from ...embed.scanning import Fragment, RowMask
from .backends import choose_backend
from .passes import Sums, count_parts
from .query import CountQuery

# Pieces of work a node: nodes are not equally fast, and one may die.
_PIECES_A_NODE = 4


class Cluster:
    """A Ray cluster to count on.

    Parameters
    ----------
    address
        Of its head; None for the cluster that this machine belongs to.

    Raises
    ------
    BadInput
        When Ray is not installed, or there is no such cluster.
    """

    def __init__(self, address: str | None = None) -> None:
        self._ray = join_cluster(address)

    def count_parts(
        self,
        corpus: Corpus,
        query: CountQuery,
        backend: str,
        parts: Sequence[Sequence[Fragment]],
        mask: RowMask | None,
        progress: Progress,
    ) -> tuple[Sums, str]:
        """Count all parts, some on each node.

        Parameters
        ----------
        corpus, query, backend, mask, progress
            As in `engine.count`; the backend is chosen on each node.
        parts
            All that the query is about, in order.

        Returns
        -------
        tuple[Sums, str]
            The sums, and the names of the backends that made them.

        Raises
        ------
        BadInput, TailwagError
            As `engine.count`; also when a node sees another table than this one.
        """
        ray = self._ray
        gpus, cores = nodes_of(ray)
        gpus = 0 if backend in ("cpu", "reference") else gpus
        needs = {"num_gpus": 1} if gpus else {"num_cpus": min(cores, default=1)}
        many = _PIECES_A_NODE * (gpus or len(cores) or 1)
        task: Any = ray.remote(_count_piece).options(**needs)
        shared = ray.put((corpus.database.uri, corpus.name, corpus.version, query, backend, tuple(parts), mask))
        pending = [task.remote(shared, piece) for piece in _pieces([_rows(part) for part in parts], many)]
        total = Sums.nothing(query, parts)  # what comes from other processes cannot be added to in place
        names: set[str] = set()
        while pending:
            done, pending = ray.wait(pending, num_returns=1)
            try:
                sums, name = ray.get(done[0])
            except ray.exceptions.RayError as error:
                cause = getattr(error, "cause", None)
                if isinstance(cause, TailwagError):
                    raise cause from None
                first = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise TailwagError(f"counting on the cluster failed: {first[:200]}") from error
            names.add(name)
            progress.advance(sums.tally.rows)
            total.merge(sums)
        if not names:  # an empty corpus
            names.add(choose_backend(backend).name)
        return total, " and ".join(sorted(names)) + " on a Ray cluster"


def _count_piece(shared: tuple[Any, ...], piece: tuple[int, int]) -> tuple[Sums, str]:
    uri, name, version, query, backend, parts, mask = shared
    corpus = Corpus.open(uri, name, version)
    there = {fragment.state for fragment in corpus.fragments()}
    first, last = piece
    wanted = parts[first:last]
    if not all(fragment.state in there for part in wanted for fragment in part):
        raise TailwagError(
            f"a node of the cluster sees another table {name!r} at {uri} than this machine: put the database on "
            "storage that all nodes share"
        )
    chosen = choose_backend(backend)
    return count_parts(corpus, query, chosen, wanted, parts, mask, NoProgress()), chosen.name


def _rows(part: Sequence[Fragment]) -> int:
    return sum(fragment.rows for fragment in part)


def _pieces(rows: Sequence[int], many: int) -> list[tuple[int, int]]:
    """Cut a list of parts into about so many consecutive pieces of about as many rows each."""
    least = max(1, -(-sum(rows) // many))
    pieces, first, open_rows = [], 0, 0
    for number, count in enumerate(rows, start=1):
        open_rows += count
        if open_rows >= least or number == len(rows):
            pieces.append((first, number))
            first, open_rows = number, 0
    return pieces
