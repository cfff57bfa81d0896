"""What a program leaves that dies while Lance makes a table stops no later job, and hides nothing that was lost."""

from __future__ import annotations

import json
import os
import shutil
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from lance.fragment import write_fragments

from tailwag.embed.corpus import Corpus
from tailwag.embed.database import Database
from tailwag.embed.encoder import Encoder
from tailwag.embed.failures import Failure, Reason
from tailwag.embed.fragment_writing import write_rows
from tailwag.embed.job import plan_embedding, run_embedding
from tailwag.embed.ledger import JobRecord, Ledger, ShardRecord
from tailwag.errors import BadInput, Caution, NotFound, TailwagError

from ..corpora import make_corpus, random_unit
from ..object_store import faulty_proxy
from .shards import sound_members, sound_shard, write_tar
from .test_object_store import IMPATIENT
from .test_resume import contents

TABLES = ["c", "c.failures", "c.shards", "c.jobs"]
FAILURE_COLUMNS = ("key", "shard", "reason", "detail", "batch")
JOB = JobRecord(datetime(2026, 1, 1, tzinfo=UTC), 1.0, "local", 1, "cpu", 1, 1, 1, 0)
RECORD = ShardRecord("s", "there", True, 1, "f", 1, 0, 1, 0, 0.0, 0.0, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder.load(tiny_model)


@pytest.fixture
def source(tmp_path):
    """Two shards of three samples, the last of each broken."""
    for shard in range(2):
        write_tar(tmp_path / "set" / f"{shard:05d}.tar", [*sound_members(range(2)), ("z.jpg", b"no picture")])
    return tmp_path / "set"


def run(source, database, encoder):
    return run_embedding(plan_embedding([str(source)], database, "c"), encoder)


def plant(database, table, *, data):
    """Lay down what Lance has written of a new table before its first version."""
    folder = database / f"{table}.lance"
    for part in ["_transactions/0-x.txn", *(["data/x.lance"] if data else [])]:
        (folder / part).parent.mkdir(parents=True)
        (folder / part).write_bytes(b"x")
    (folder / "_versions").mkdir()
    (folder / "_versions" / ".tmpPqIRbq").write_bytes(b"x")


@pytest.mark.parametrize("table", TABLES)
def test_a_job_that_died_while_a_table_was_made_is_continued(tmp_path, source, encoder, table):
    run(source, tmp_path / "whole", encoder)
    plant(tmp_path / "db", table, data=False)
    assert run(source, tmp_path / "db", encoder).rows == 4
    assert contents(tmp_path / "db") == contents(tmp_path / "whole")
    assert len(Ledger(Database(tmp_path / "db"), "c").jobs()) == 1
    assert run(source, tmp_path / "db", encoder).rows == 0


@pytest.mark.parametrize("table", TABLES[1:])
@pytest.mark.filterwarnings("ignore::tailwag.errors.Caution")
def test_also_where_a_table_of_the_ledger_has_data_and_the_corpus_says_that_none_is_lost(
    tmp_path, source, encoder, table
):
    run(source, tmp_path / "whole", encoder)
    plant(tmp_path / "db", table, data=True)
    assert run(source, tmp_path / "db", encoder).rows == 4
    assert contents(tmp_path / "db") == contents(tmp_path / "whole")
    assert len(Ledger(Database(tmp_path / "db"), "c").jobs()) == 1


def test_a_broken_table_of_failures_is_none_until_a_shard_has_failures(tmp_path, source, encoder):
    sound_shard(tmp_path / "sound" / "00000.tar", range(3))
    run(tmp_path / "sound", tmp_path / "db", encoder)
    plant(tmp_path / "db", "c.failures", data=True)
    assert run(source, tmp_path / "db", encoder).rows == 4
    assert len(Ledger(Database(tmp_path / "db"), "c").failures()) == 2


@pytest.mark.parametrize("table", ["c", "c.failures", "c.shards"])
def test_a_table_that_lost_its_versions_is_refused(tmp_path, source, encoder, table):
    run(source, tmp_path / "db", encoder)
    shutil.rmtree(tmp_path / "db" / f"{table}.lance" / "_versions")
    with pytest.raises(TailwagError, match=f"/{table}.lance cannot be opened: it has data and no version"):
        run(source, tmp_path / "db", encoder)


def test_jobs_that_were_lost_are_told(tmp_path, source, encoder):
    run(source, tmp_path / "db", encoder)
    shutil.rmtree(tmp_path / "db" / "c.jobs.lance" / "_versions")
    with pytest.warns(Caution, match="c.jobs.lance has data and no version: what earlier jobs did is not known"):
        assert Ledger(Database(tmp_path / "db"), "c").jobs() == []


def test_a_table_that_is_being_made_is_none(tmp_path):
    corpus = make_corpus(tmp_path / "db", random_unit(3, 16))
    plant(tmp_path / "db", "half", data=False)
    assert corpus.database.corpora() == [corpus.name]
    with pytest.raises(NotFound, match="no corpus 'half' .* it has made"):
        Corpus.open(corpus.database, "half")
    assert len(Corpus.create(corpus.database, "half", corpus.space)) == 0
    assert corpus.database.corpora() == ["half", corpus.name]
    plant(tmp_path / "db", "lost", data=True)
    with pytest.raises(TailwagError, match="it has data and no version"):
        Corpus.create(corpus.database, "lost", corpus.space)
    assert not list((tmp_path / "db" / "lost.lance" / "_versions").glob("*.manifest"))


def test_of_many_that_make_a_table_at_once_none_overwrites_what_another_wrote(tmp_path):
    space = make_corpus(tmp_path / "db", random_unit(3, 16)).space
    database = Database(tmp_path / "db")

    def create(_):
        try:
            return Corpus.create(database, "c", space)
        except BadInput as error:
            assert "'c' exists already" in str(error)
            return None

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda shards: Ledger(database, "c").add_job(replace(JOB, shards=shards)), range(8)))
        made = list(pool.map(create, range(8)))
    assert sorted(job.shards for job in Ledger(database, "c").jobs()) == list(range(8))
    assert sum(corpus is not None for corpus in made) == 1 and Corpus.open(database, "c").version == 1


def test_a_table_whose_making_was_broken_off_before_its_rows_takes_part_in_nothing(tmp_path, encoder):
    """The table of failures has its version and no rows yet; the next job has no failures to write."""
    sound_shard(tmp_path / "set" / "00000.tar", range(2))
    database = Database(tmp_path / "db")
    database.make_table("c.failures", pa.schema([pa.field(name, pa.string(), False) for name in FAILURE_COLUMNS]))
    assert run(tmp_path / "set", database, encoder).rows == 2
    assert len(Ledger(database, "c").failures()) == 0


def test_what_newer_records_replace_is_removed_in_few_commits(tmp_path):
    """As after `--retry-failed`: of each old batch one shard was read again, another was not."""
    corpus = make_corpus(tmp_path / "db", random_unit(3, 16)).database
    corpus = Corpus.create(corpus, "c", Corpus.open(corpus, "made").space)
    ledger, expected = Ledger(corpus.database, "c"), set()
    shards = [[f"it's {batch}", f"kept {batch}"] for batch in range(120)]
    for number, names in enumerate(shards):
        _prepare(ledger, f"old{number}", names)
        expected.add((f"old{number}", names[1]))
    _prepare(ledger, "new", [names[0] for names in shards])
    expected |= {("new", names[0]) for names in shards}
    versions = {table: corpus.database.open_table(table).version for table in ledger.tables}
    assert ledger.settle(corpus) == []
    for table, version in versions.items():
        opened = corpus.database.open_table(table)
        left = opened.to_table(columns=["batch", "shard"]).to_pylist()
        assert {(row["batch"], row["shard"]) for row in left} == expected and len(left) == len(expected)
        assert opened.version - version <= 3


def _prepare(ledger, batch, shards):
    records = [replace(RECORD, shard=shard) for shard in shards]
    ledger.prepare(batch, records, [Failure(f"{shard}/0", shard, Reason.NOT_AN_IMAGE, "") for shard in shards], [])


def test_rows_are_on_the_disk_and_then_the_names_of_their_files(tmp_path, monkeypatch):
    corpus = make_corpus(tmp_path / "db", random_unit(3, 16))
    synced, true_fsync = [], os.fsync

    def fsync(descriptor):
        synced.append(os.fstat(descriptor).st_ino)
        true_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    rows = iter(corpus._dataset.to_table().to_batches())
    written = write_rows(corpus.database.table_uri("made"), corpus.schema, rows)
    data = tmp_path / "db" / "made.lance" / "data"
    files = [data / file["path"] for fragment in written for file in json.loads(fragment)["files"]]
    assert files and synced == [path.stat().st_ino for path in (*files, data)]


@pytest.fixture
def faults(object_store, monkeypatch):
    """A proxy that everything goes through; what is put into `faults["fault"]` goes wrong."""
    faults = {"fault": lambda method, path, number: None}
    with faulty_proxy(object_store, lambda *request: faults["fault"](*request)) as address:
        for name, value in {**IMPATIENT, **object_store.environment(address)}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("OBJECT_STORE_CLIENT_MAX_RETRIES", "0")
        monkeypatch.setenv("TAILWAG_LEASE_SECONDS", "1")
        monkeypatch.setattr("tailwag.embed.store_requests._FIRST_WAIT", 0.01)
        yield faults


@pytest.mark.parametrize(
    "table", ["c", "c.shards", *(pytest.param(table, marks=pytest.mark.slow) for table in ("c.failures", "c.jobs"))]
)
def test_a_store_that_goes_down_while_a_table_is_made(faults, object_store, tmp_path, source, encoder, table):
    database = Database(f"s3://{object_store.new_bucket()}/db")
    run(source, tmp_path / "whole", encoder)
    down = []

    def fault(method, path, number):
        if method == "PUT" and f"/{table}.lance/_versions/" in path.replace("%2F", "/"):
            down.append(path)
        return 503 if down else None

    faults["fault"] = fault
    with suppress(TailwagError, OSError, ValueError), warnings.catch_warnings(action="ignore"):
        run(source, database, encoder)
    assert down
    faults["fault"] = lambda *_: None
    time.sleep(1.1)  # until the lease has run out, which could not be given back
    run(source, database, encoder)
    assert contents(database) == contents(tmp_path / "whole")


def test_files_that_could_not_be_deleted_are_told(faults, object_store):
    database = Database(f"s3://{object_store.new_bucket()}/db")
    corpus = make_corpus(database, random_unit(3, 16))
    write_fragments(corpus._dataset.to_table(), database.table_uri("made"), schema=corpus.schema, mode="append")
    faults["fault"] = lambda method, path, number: 503 if method == "DELETE" or "delete" in path else None
    with pytest.warns(Caution, match="1 file of corpus 'made' that nothing refers to could not be deleted"):
        corpus.remove_unreferenced(timedelta(36_500))
    faults["fault"] = lambda *_: None
    with warnings.catch_warnings(action="error"):
        assert corpus.remove_unreferenced(timedelta(36_500)) > 0
