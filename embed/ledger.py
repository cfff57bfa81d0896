"""Which shards of a corpus are done, and which samples failed: two LanceDB tables beside it.

A shard is done when its record stands in `<corpus>.shards`; the record is written last, after the shard's failures and
rows. A shard without a record that left something behind is undone before work goes on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from tailwag.errors import TailwagError

from .corpus import Corpus
from .database import Database
from .failures import Failure


@dataclass(frozen=True)
class ShardRecord:
    """What became of one shard. samples = rows + failures; times in seconds; `decode` is summed over threads."""

    shard: str
    location: str
    is_tar: bool
    size: int
    fingerprint: str
    samples: int
    rows: int
    failures: int
    decode_seconds: float
    compute_seconds: float
    write_seconds: float
    finished: datetime


class Ledger:
    """The records and failures of one corpus."""

    def __init__(self, database: Database, corpus: str) -> None:
        self._database = database
        self._shards = f"{corpus}.shards"
        self._failures = f"{corpus}.failures"

    def records(self) -> dict[str, ShardRecord]:
        """Give the record of every shard that is done, by the shard's name."""
        dataset = self._database.try_table(self._shards)
        rows = dataset.to_table().to_pylist() if dataset is not None else []
        return {row["shard"]: ShardRecord(**row) for row in rows}

    def failures(self) -> Any:
        """Give the failures as a `pyarrow.Table`: key, shard, reason, detail."""
        dataset = self._database.try_table(self._failures)
        return dataset.to_table() if dataset is not None else _failure_schema().empty_table()

    def failure_count(self) -> int:
        """Count the failures."""
        dataset = self._database.try_table(self._failures)
        return dataset.count_rows() if dataset is not None else 0

    def add_failures(self, failures: Sequence[Failure]) -> None:
        """Write failures in one commit."""
        self._append(self._failures, [asdict(failure) for failure in failures], _failure_schema())

    def add_record(self, record: ShardRecord) -> None:
        """Write that a shard is done. Nothing of it is written after this."""
        self._append(self._shards, [asdict(record)], _record_schema())

    def undo_unfinished(self, corpus: Corpus, read_again: Collection[str]) -> list[str]:
        """Remove what an interrupted run wrote of a shard that it did not finish.

        Costs two row counts where there is nothing to undo.

        Parameters
        ----------
        corpus
            The corpus.
        read_again
            The shards that will be read next: nothing else is ever removed.

        Returns
        -------
        list[str]
            The shards that were undone; they will be read again.

        Raises
        ------
        TailwagError
            When there are rows that no record accounts for and that would not be read again: another job was
            interrupted, the records were lost, or something else wrote to the corpus. Nothing is removed then.
        """
        records = self.records().values()
        rows, failed = sum(record.rows for record in records), sum(record.failures for record in records)
        if (len(corpus), self.failure_count()) == (rows, failed):
            return []
        failures = self._database.try_table(self._failures)
        written = set(corpus.column("shard").unique().to_pylist())
        if failures is not None:
            written |= set(failures.to_table(columns=["shard"]).column(0).unique().to_pylist())
        undone = written - {record.shard for record in records}
        lost = sorted(undone - set(read_again))
        if lost:
            raise TailwagError(
                f"corpus {corpus.name!r} holds shard {lost[0]!r} without a record that it was finished"
                + (f" (and {len(lost) - 1} more)" if len(lost) > 1 else "")
                + ", and this command would not read it again: give the command that was interrupted first, or "
                "embed into a new corpus"
            )
        for shard in undone:
            for table in (corpus, failures):
                if table is not None:
                    table.delete("shard = '" + shard.replace("'", "''") + "'")
        if (len(corpus), self.failure_count()) != (rows, failed):
            raise TailwagError(
                f"corpus {corpus.name!r} has {len(corpus):,} rows and {self.failure_count():,} failures, its finished "
                f"shards made {rows:,} and {failed:,}: something else wrote to it; embed into a new corpus"
            )
        return sorted(undone)

    def _append(self, table: str, rows: list[dict[str, Any]], schema: Any) -> None:
        import lance
        import pyarrow as pa

        if rows:
            written = pa.Table.from_pylist(rows, schema=schema)
            mode = "append" if self._database.has_table(table) else "create"
            lance.write_dataset(written, self._database.table_uri(table), mode=mode, schema=schema)


def _failure_schema() -> Any:
    import pyarrow as pa

    return pa.schema([pa.field(name, pa.string(), False) for name in ("key", "shard", "reason", "detail")])


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
        "decode_seconds": seconds,
        "compute_seconds": seconds,
        "write_seconds": seconds,
        "finished": pa.timestamp("us", tz="UTC"),
    }
    return pa.schema([pa.field(name, kind, False) for name, kind in types.items()])
