"""Which shards of a corpus are done, which samples failed, what its jobs did: three LanceDB tables beside it.

Work is written in batches: a batch's failures and records first, its rows last, in one commit of the corpus. A batch
whose rows are not in the corpus never happened: nobody is shown it, and the next job removes it. Not here: the commit
itself (`committing.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from tailwag.errors import BadInput, Caution, TailwagError

from .corpus import Corpus
from .database import Database, NoVersion
from .failures import Failure

_BATCHES_DELETED = 50  # in one go


@dataclass(frozen=True)
class ShardRecord:
    """What became of one shard. samples = rows + failures.

    Attributes
    ----------
    shard, location, is_tar, size, fingerprint
        As of the `Shard`, when it was read last.
    samples, rows, failures
        How many it gave, over every time it was read.
    cut_captions
        How many of its captions were longer than the model's context and were cut.
    decode_seconds, compute_seconds
        Summed over threads.
    finished
        When the last of it was embedded.
    precision
        In which numbers its vectors were computed; empty for vectors that were imported.
    """

    shard: str
    location: str
    is_tar: bool
    size: int
    fingerprint: str
    samples: int
    rows: int
    failures: int
    cut_captions: int
    decode_seconds: float
    compute_seconds: float
    finished: datetime
    precision: str = ""


@dataclass(frozen=True)
class JobRecord:
    """What one job did, written when it ended, however it ended but by force.

    Attributes
    ----------
    started, seconds
        When, and how long it took from reading the plan to the last commit.
    engine, workers, device
        Where the work was done, with how many models at once, on what each.
    shards, samples, rows, failures
        As in `EmbeddingReport`.
    """

    started: datetime
    seconds: float
    engine: str
    workers: int
    device: str
    shards: int
    samples: int
    rows: int
    failures: int


class Ledger:
    """The records and failures of one corpus.

    A shard that is read again (`--retry-failed`) gets a new record and new failures, which take the old ones' place.
    """

    def __init__(self, database: Database, corpus: str) -> None:
        self._database = database
        self._corpus = corpus
        self._shards = f"{corpus}.shards"
        self._failures = f"{corpus}.failures"
        self._jobs = f"{corpus}.jobs"

    @property
    def tables(self) -> list[str]:
        """Name the tables of records and failures that rows were written to."""
        opened = ((table, self._open(table)) for table in (self._failures, self._shards))
        return [table for table, dataset in opened if dataset is not None and dataset.get_fragments()]

    def records(self) -> dict[str, ShardRecord]:
        """Give the record of every shard that is done, by the shard's name."""
        names = [field.name for field in fields(ShardRecord)]
        rows = self._newest().select(names).to_pylist()
        return {row["shard"]: ShardRecord(**row) for row in rows}

    def failures(self) -> Any:
        """Give the failures as a `pyarrow.Table`: key, shard, reason, detail."""
        import pyarrow.compute as pc

        found = self._written_failures()
        live = pc.is_in(_pairs(found), _pairs(self._newest()))
        return found.filter(live).drop_columns(["batch"])

    def failure_count(self) -> int:
        """Count the failures, by the records."""
        return _sum(self._newest(), "failures")

    def prepare(
        self, batch: str, records: Sequence[ShardRecord], failures: Sequence[Failure], files: Sequence[str]
    ) -> None:
        """Write down a batch whose rows are about to be committed.

        Parameters
        ----------
        batch
            A name that no other batch has.
        records, failures
            Of the batch's shards.
        files
            Names of the data files with its rows: the batch is done once the corpus holds them; at once where there
            are none.
        """
        self._append(self._failures, [asdict(failure) | {"batch": batch} for failure in failures], _failure_schema())
        rows = [asdict(record) | {"batch": batch, "files": list(files)} for record in records]
        self._append(self._shards, rows, _record_schema())

    def settle(self, corpus: Corpus) -> list[str]:
        """Remove what an interrupted job wrote down and did not finish, and what newer records have replaced.

        Reads the records and counts rows where there is nothing to do. The corpus's rows are never touched.

        Returns
        -------
        list[str]
            The shards whose batch did not happen; they are not done.

        Raises
        ------
        TailwagError
            When rows, records and failures do not add up after that: the records were lost, or something else wrote to
            the corpus.
        """
        import pyarrow.compute as pc

        recorded, newest, failures = self._recorded(), self._newest(), self._written_failures(["batch", "shard"])
        dead = recorded.filter(pc.invert(pc.is_in(_pairs(recorded), _pairs(newest))))
        stale = failures.filter(pc.invert(pc.is_in(_pairs(failures), _pairs(newest))))
        self._require_sums(corpus, newest, len(failures) - len(stale))
        for name, gone in ((self._failures, stale), (self._shards, dead)):
            for condition in _conditions(gone):
                self._database.open_table(name).delete(condition)
        done = set(newest.column("shard").to_pylist())
        return sorted(set(dead.column("shard").to_pylist()) - done)

    def _require_sums(self, corpus: Corpus, newest: Any, failures: int) -> None:
        rows, failed = _sum(newest, "rows"), _sum(newest, "failures")
        if len(corpus) == rows and failures == failed:
            return
        known = set(newest.column("shard").to_pylist())
        unknown = sorted(set(corpus.column("shard").unique().to_pylist()) - known)
        if unknown:
            raise TailwagError(
                f"corpus {corpus.name!r} holds shard {unknown[0]!r} without a record that it was finished"
                + (f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else "")
                + f": its records ({self._shards}) were lost, or something else wrote to it; embed into a new corpus"
            )
        raise TailwagError(
            f"corpus {corpus.name!r} has {len(corpus):,} rows and {failures:,} failures, its finished shards made "
            f"{rows:,} and {failed:,}: something else wrote to it; embed into a new corpus"
        )

    def add_job(self, job: JobRecord) -> None:
        """Write down what a job did."""
        self._append(self._jobs, [asdict(job)], _job_schema())

    def jobs(self) -> list[JobRecord]:
        """Give what the jobs did, the last one last."""
        table = self._open(self._jobs)
        return [JobRecord(**row) for row in table.to_table().to_pylist()] if table is not None else []

    def forget_files(self, corpus: Corpus) -> None:
        """Settle, and note that every batch is done whatever its files are called: compaction is to replace them.

        Nothing to do for a corpus without records: one that no job made.
        """
        if self._open(self._shards) is not None:
            self.settle(corpus)
            self._database.open_table(self._shards).update({"files": "make_array()"})

    def _recorded(self) -> Any:
        table = self._open(self._shards)
        if table is None:
            return _record_schema().empty_table()
        if not set(_record_schema().names) <= set(table.schema.names):
            raise TailwagError(
                f"{self._database.table_uri(self._shards)} was written by an older tailwag: embed into a new corpus"
            )
        return table.to_table()

    def _written_failures(self, columns: list[str] | None = None) -> Any:
        table = self._open(self._failures)
        if table is not None:
            return table.to_table(columns=columns)
        return _failure_schema().empty_table().select(columns or _failure_schema().names)

    def _open(self, table: str) -> Any | None:
        """Open one of the tables; None where there is none, or one whose making was broken off.

        Tables were once made together with their first rows: what was broken off then has data and no version, as a
        damaged table has. It is taken for none where nothing can have been lost with it.
        """
        try:
            return self._database.try_table(table)
        except NoVersion:
            if table == self._jobs:  # which nothing depends on
                warnings.warn(
                    f"{self._database.table_uri(table)} has data and no version: what earlier jobs did is not known",
                    Caution,
                    stacklevel=3,
                )
                return None
            if self._is_missed(table):
                raise
            return None

    def _is_missed(self, table: str) -> bool:
        if table == self._failures:
            return self.failure_count() > 0
        corpus = self._database.try_table(self._corpus)
        return corpus is not None and corpus.count_rows() > 0

    def _newest(self) -> Any:
        """Give each shard's newest record of a batch that happened.

        Only the last batch can be in doubt: there is one committer, and it writes one after the other.
        """
        import pyarrow.compute as pc

        recorded = self._recorded()
        if not len(recorded):
            return recorded
        of_last = pc.equal(recorded.column("batch"), recorded.column("batch")[-1])
        with_last, without = _newest_of(recorded), _newest_of(recorded.filter(pc.invert(of_last)))
        files = set(recorded.filter(of_last).column("files").combine_chunks().flatten().to_pylist())
        if not files:
            return with_last
        corpus = self._database.try_table(self._corpus)
        if corpus is None:
            return without
        if files <= {file.path for fragment in corpus.get_fragments() for file in fragment.metadata.files}:
            return with_last
        # Another tool may have compacted the table, and its files with it: then the number of rows tells.
        rows = corpus.count_rows()
        return with_last if rows == _sum(with_last, "rows") != _sum(without, "rows") else without

    def _append(self, table: str, rows: list[dict[str, Any]], schema: Any) -> None:
        import lance
        import pyarrow as pa

        if rows:
            if self._open(table) is None:
                with suppress(BadInput):  # another program made it at the same time
                    self._database.make_table(table, schema)
            written = pa.Table.from_pylist(rows, schema=schema)
            lance.write_dataset(written, self._database.table_uri(table), mode="append", schema=schema)


def _newest_of(recorded: Any) -> Any:
    import pyarrow as pa

    newest = {shard: number for number, shard in enumerate(recorded.column("shard").to_pylist())}
    return recorded.take(pa.array(newest.values(), pa.int64()))


def _pairs(table: Any) -> Any:
    """Give each row's batch and shard as one text: a batch's name has no line end in it."""
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(table.column("batch"), table.column("shard"), "\n").combine_chunks()


def _conditions(table: Any) -> list[str]:
    """Say in SQL which rows these are, a condition for some tens of batches: each costs a scan and a commit."""
    shards: dict[str, set[str]] = {}
    for batch, shard in zip(table.column("batch").to_pylist(), table.column("shard").to_pylist(), strict=True):
        shards.setdefault(batch, set()).add("'" + shard.replace("'", "''") + "'")
    each = [f"(batch = '{batch}' AND shard IN ({', '.join(sorted(names))}))" for batch, names in shards.items()]
    return [" OR ".join(each[at : at + _BATCHES_DELETED]) for at in range(0, len(each), _BATCHES_DELETED)]


def _sum(table: Any, column: str) -> int:
    import pyarrow.compute as pc

    return pc.sum(table.column(column)).as_py() or 0


def _failure_schema() -> Any:
    import pyarrow as pa

    names = ("key", "shard", "reason", "detail", "batch")
    return pa.schema([pa.field(name, pa.string(), False) for name in names])


def _record_schema() -> Any:
    import pyarrow as pa

    text, number, seconds = pa.string(), pa.int64(), pa.float64()
    types = {
        "shard": text,
        "location": text,
        "is_tar": pa.bool_(),
        "size": number,
        "fingerprint": text,
        "samples": number,
        "rows": number,
        "failures": number,
        "cut_captions": number,
        "decode_seconds": seconds,
        "compute_seconds": seconds,
        "finished": pa.timestamp("us", tz="UTC"),
        "precision": text,
        "batch": text,
        "files": pa.list_(text),
    }
    return pa.schema([pa.field(name, kind, False) for name, kind in types.items()])


def _job_schema() -> Any:
    import pyarrow as pa

    types = {
        "started": pa.timestamp("us", tz="UTC"),
        "seconds": pa.float64(),
        "engine": pa.string(),
        "workers": pa.int64(),
        "device": pa.string(),
        "shards": pa.int64(),
        "samples": pa.int64(),
        "rows": pa.int64(),
        "failures": pa.int64(),
    }
    return pa.schema([pa.field(name, kind, False) for name, kind in types.items()])
