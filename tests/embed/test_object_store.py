"""Corpora on an object store: the same rows, counts and pictures as in a folder, through failures, without secrets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from contextlib import suppress

import pytest
from lance.fragment import write_fragments

from tailwag.embed.corpus import Corpus
from tailwag.embed.database import Database
from tailwag.embed.encoder import Encoder
from tailwag.embed.job import plan_embedding, run_embedding
from tailwag.embed.ledger import Ledger
from tailwag.embed.locking import Lease, only_writer
from tailwag.embed.pictures import read_pictures
from tailwag.embed.store_requests import PreconditionFailed, StoreFailure
from tailwag.errors import BadInput, Caution, NotFound, TailwagError
from tailwag.main import main
from tests.command_runs import told
from tests.object_store import ACCESS_KEY, SECRET, faulty_proxy

from .shards import picture, sound_members, write_tar

SHARDS, SAMPLES = 4, 6
# What Lance asks of a store that is down, in tests: not for minutes.
IMPATIENT = {
    "TAILWAG_STORE_ATTEMPTS": "3",
    "OBJECT_STORE_CLIENT_MAX_RETRIES": "1",
    "OBJECT_STORE_CLIENT_RETRY_TIMEOUT": "2",
}


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder.load(tiny_model)


@pytest.fixture
def store(object_store, monkeypatch):
    for name, value in object_store.environment().items():
        monkeypatch.setenv(name, value)
    return object_store


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "set"
    for shard in range(SHARDS):
        numbers = range(shard * SAMPLES, (shard + 1) * SAMPLES - 1)
        write_tar(folder / f"{shard:05d}.tar", [*sound_members(numbers), ("z.jpg", b"no picture")])
    return folder


@pytest.fixture(scope="module")
def twin(source, encoder, tmp_path_factory):
    """The same in a folder."""
    database = Database(tmp_path_factory.mktemp("twin") / "db")
    run_embedding(plan_embedding([str(source)], database, "c"), encoder)
    return database


@pytest.fixture
def bucket(store, source):
    name = store.new_bucket()
    store.upload(source, name, "data/set")
    return name


def contents(database):
    corpus, ledger = Corpus.open(database, "c"), Ledger(database, "c")
    records = [(each.shard, each.samples, each.rows, each.failures, each.size) for each in ledger.records().values()]
    return corpus._dataset.to_table().sort_by("key"), ledger.failures().sort_by("key"), sorted(records)


@pytest.fixture
def on_store(bucket, encoder):
    database = Database(f"s3://{bucket}/db")
    run_embedding(plan_embedding([f"s3://{bucket}/data/set/{{00000..00003}}.tar"], database, "c"), encoder)
    return database


def test_a_corpus_on_a_store_is_the_corpus_in_a_folder(on_store, twin, source):
    assert contents(on_store) == contents(twin)
    assert on_store.corpora() == ["c"] and on_store.tables() == twin.tables()
    keys = ["set/00001/000000007", "set/00003/000000018"]
    pictures = read_pictures(Corpus.open(on_store, "c"), keys)
    assert pictures == read_pictures(Corpus.open(twin, "c"), keys)
    assert pictures[0].data == picture(7)


def test_the_same_command_again_does_nothing_wherever_the_shards_lie(on_store, bucket, source, encoder):
    version = Corpus.open(on_store, "c").version
    for again in (f"s3://{bucket}/data/set", str(source)):
        plan = plan_embedding([again], on_store, "c")
        assert (len(plan.shards), plan.shards_done) == (0, SHARDS)
    assert Corpus.open(on_store, "c").version == version


def test_another_file_in_a_shards_place_is_refused(on_store, bucket, store):
    store.client().put_object(Bucket=bucket, Key="data/set/00002.tar", Body=b"x" * 10240)
    with pytest.raises(BadInput, match=f"s3://{bucket}/data/set/00002.tar .* is another file"):
        plan_embedding([f"s3://{bucket}/data/set"], on_store, "c")


def test_commands_that_read_answer_as_for_a_folder(on_store, twin):
    for command in (
        ["info", "--json"],
        ["count", "c", "picture number 3", "--threshold", "0.01", "--json"],
        ["search", "c", "picture number 3", "--json"],
        ["captions", "c", "picture", "--json"],
    ):
        answers = []
        for database in (on_store, twin):
            status, out, err = told(*command, "--db", database.uri)
            assert status == 0, err
            answers.append(json.loads(out.replace(database.uri, "DB")))
            _drop_versions(answers[-1])
        assert answers[0] == answers[1], command


def _drop_versions(answer):
    """Rows came in other groups, so versions may differ; nothing else may."""
    if isinstance(answer, dict):
        for name in ("corpus_version", "version", "seconds", "created"):
            answer.pop(name, None)
    for value in answer.values() if isinstance(answer, dict) else answer if isinstance(answer, list) else []:
        _drop_versions(value)


def test_reading_a_corpus_on_a_store_imports_neither_lancedb_nor_torch(on_store):
    code = (
        "import sys\n"
        "from tailwag.embed.database import Database\n"
        f"assert Database({on_store.uri!r}).corpora() == ['c']\n"
        "print(sorted({'lancedb', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_folder_of_images_on_a_store(store, tmp_path, encoder):
    for name in ("cats/tom.jpg", "dogs/rex.jpg"):
        (tmp_path / "pets" / name).parent.mkdir(parents=True)
        (tmp_path / "pets" / name).write_bytes(picture(len(name)))
    (tmp_path / "pets" / "cats" / "tom.txt").write_text("a cat")
    (tmp_path / "pets" / "dogs" / "broken.jpg").write_bytes(b"no picture")
    bucket = store.new_bucket()
    address = store.upload(tmp_path / "pets", bucket, "pets")
    here, there = Database(tmp_path / "db"), Database(f"s3://{bucket}/db")
    for where, database in ((str(tmp_path / "pets"), here), (address, there)):
        run_embedding(plan_embedding([where], database, "c"), encoder)
        assert plan_embedding([where], database, "c").shards == ()
    assert contents(there) == contents(here)
    assert read_pictures(Corpus.open(there, "c"), ["pets/cats/tom.jpg"])[0].data == picture(len("cats/tom.jpg"))
    store.client().delete_object(Bucket=bucket, Key="pets/cats/tom.jpg")
    gone = read_pictures(Corpus.open(there, "c"), ["pets/cats/tom.jpg"])[0]
    assert gone.data is None and gone.missing == f"not in {address} any more"


def test_what_is_not_there_is_told(store, bucket):
    assert Database(f"s3://{bucket}/nothing").tables() == []
    with pytest.raises(NotFound, match="no corpus 'c' in s3://.*; it has none: make one"):
        Corpus.open(f"s3://{bucket}/nothing", "c")
    with pytest.raises(TailwagError, match="s3://no-such-bucket/db/c.lance cannot be opened: .*NoSuchBucket"):
        Corpus.open("s3://no-such-bucket/db", "c")
    with pytest.raises(NotFound, match="s3://no-such-bucket is not there"):
        Database("s3://no-such-bucket/db").tables()
    with pytest.raises(BadInput, match="s3://bucket/db was given with credentials in it"):
        Database(f"s3://key:{SECRET}@bucket/db")
    status, _, err = told("index", "build", "c", "--db", f"s3://{bucket}/db")
    assert status == 1 and err.count("\n") == 1


def test_a_damaged_table_is_not_taken_for_none(on_store, bucket, store):
    for key in store.contents(bucket):
        if key.startswith("db/c.lance/_versions/"):
            store.client().delete_object(Bucket=bucket, Key=key)
    with pytest.raises(TailwagError, match=r"c.lance cannot be opened"):
        Corpus.open(on_store, "c")


def test_one_job_at_a_time(on_store, bucket, encoder, source):
    plan = plan_embedding([f"s3://{bucket}/data/set"], on_store, "d")
    with (
        only_writer(on_store.lock_place("d"), ""),
        pytest.raises(TailwagError, match="another job writes to corpus 'd'.*its lease ends at"),
    ):
        run_embedding(plan, encoder)
    assert "d" not in on_store.tables()
    run_embedding(plan, encoder)
    assert contents_of_rows(on_store, "d") == contents_of_rows(on_store, "c")


def test_a_job_whose_lease_was_taken_over_writes_and_deletes_nothing_more(store, bucket, encoder, monkeypatch):
    monkeypatch.setenv("TAILWAG_LEASE_SECONDS", "1")
    database = Database(f"s3://{bucket}/db")
    place, other, written = database.lock_place("c"), [], []

    def take_over(record, failures):
        """As if this machine had slept: another job takes the lease, and has fragments that it will commit."""
        if other:
            return
        lease = Lease(place, seconds=600)
        while not other:
            with suppress(PreconditionFailed):  # this job renewed it in between
                lease._write(IfMatch=lease._look().etag)
                other.append(lease)
        rows = Corpus.open(database, "c")._dataset.to_table()
        written.extend(write_fragments(rows, database.table_uri("c"), schema=rows.schema, mode="append"))
        time.sleep(1)  # so that the lease is no longer trusted without a question

    plan = plan_embedding([f"s3://{bucket}/data/set"], database, "c")
    with pytest.raises(TailwagError, match="was taken over by another job"):
        run_embedding(plan, encoder, on_shard=take_over, group_seconds=0)
    other[0].require_held()
    corpus = Corpus.open(database, "c")
    before = len(corpus)
    assert before < SHARDS * (SAMPLES - 1)
    corpus.commit_fragments([json.dumps(fragment.to_json()) for fragment in written])
    assert len(Corpus.open(database, "c")._dataset.to_table()) == 2 * before


def test_counts_are_saved_and_checked_on_a_store(on_store):
    status, out, err = told("count", "c", "cat", "--threshold", "0.01", "--save", "--json", "--db", on_store.uri)
    assert status == 0, err
    status, out, err = told("verify", json.loads(out)["run"], "--db", on_store.uri)
    assert status == 0, err


def contents_of_rows(database, name):
    return Corpus.open(database, name)._dataset.to_table().sort_by("key").column("key").to_pylist()


@pytest.fixture
def faults(store, monkeypatch):
    """A proxy that everything goes through; what is put into `faults["fault"]` goes wrong."""
    faults = {"fault": lambda method, path, number: None}
    with faulty_proxy(store, lambda *request: faults["fault"](*request)) as address:
        for name, value in {**IMPATIENT, **store.environment(address)}.items():
            monkeypatch.setenv(name, value)
        yield faults


def run(bucket, encoder):
    database = Database(f"s3://{bucket}/db")
    return run_embedding(
        plan_embedding([f"s3://{bucket}/data/set/{{00000..00003}}.tar"], database, "c"), encoder, group_seconds=0
    )


def test_a_store_that_throttles_and_cuts_is_asked_again(faults, bucket, twin, encoder, monkeypatch):
    for name, value in (("TAILWAG_STORE_ATTEMPTS", "7"), ("OBJECT_STORE_CLIENT_MAX_RETRIES", "10")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OBJECT_STORE_CLIENT_RETRY_TIMEOUT", "180")
    monkeypatch.setattr("tailwag.embed.store_requests._FIRST_WAIT", 0.01)
    monkeypatch.setattr("tailwag.embed.store_requests._SECONDS_BETWEEN_WORDS", 0.0)

    def fault(method, path, number):
        if number % 5 == 0:
            return 503
        # Lance repeats no listing whose answer broke off within a commit: that ends the job, to be continued.
        return ("cut" if method == "GET" and "list-type" not in path else 500) if number % 7 == 0 else None

    faults["fault"] = fault
    with pytest.warns(Caution, match="trying again in"):
        run(bucket, encoder)
    faults["fault"] = lambda *_: None
    assert contents(Database(f"s3://{bucket}/db")) == contents(twin)


def test_answers_that_are_lost_add_nothing_twice(faults, bucket, twin, encoder, monkeypatch):
    """The store does what was asked and says that it failed: the repeated request must not become a second batch."""
    monkeypatch.setenv("OBJECT_STORE_CLIENT_MAX_RETRIES", "5")
    monkeypatch.setenv("OBJECT_STORE_CLIENT_RETRY_TIMEOUT", "180")
    monkeypatch.setattr("tailwag.embed.store_requests._FIRST_WAIT", 0.01)
    lost = set()

    def fault(method, path, number):
        if method == "PUT" and path not in lost:
            lost.add(path)
            return "lost"
        return None

    faults["fault"] = fault
    with warnings.catch_warnings(action="ignore"):
        run(bucket, encoder)
    assert sum("_versions" in path for path in lost) > SHARDS
    assert contents(Database(f"s3://{bucket}/db")) == contents(twin)


@pytest.mark.parametrize("requests", [5, 20, 40, 60, 80, 100, 120])
def test_after_a_hard_failure_the_same_command_finishes(faults, bucket, twin, encoder, requests, monkeypatch):
    """The store goes down after some requests: before, between and within the job's writes."""
    monkeypatch.setenv("TAILWAG_LEASE_SECONDS", "1")
    monkeypatch.setattr("tailwag.embed.store_requests._FIRST_WAIT", 0.01)
    faults["fault"] = lambda method, path, number: 503 if number > requests else None
    with pytest.raises((TailwagError, OSError, ValueError)), warnings.catch_warnings(action="ignore"):
        run(bucket, encoder)
    faults["fault"] = lambda *_: None
    time.sleep(1.1)  # until the lease has run out, which could not be given back
    run(bucket, encoder)
    assert contents(Database(f"s3://{bucket}/db")) == contents(twin)


def test_a_killed_job_is_continued_once_its_lease_has_run_out(store, bucket, twin, encoder, tiny_model, monkeypatch):
    source = f"s3://{bucket}/data/set/{{00000..00003}}.tar"
    command = [sys.executable, "-m", "tailwag", "embed", source, "--corpus", "c", "--model", tiny_model]
    environment = {**os.environ, "TAILWAG_LEASE_SECONDS": "3", "TAILWAG_DB": f"s3://{bucket}/db"}
    running = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 300
    while "db/c.lease" not in store.contents(bucket) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    while time.monotonic() < deadline:
        try:
            run(bucket, encoder)
            break
        except TailwagError as error:
            assert "its lease ends at" in str(error)
            time.sleep(0.2)
    assert contents(Database(f"s3://{bucket}/db")) == contents(twin)


def test_no_secret_is_written_anywhere(store, faults, bucket, tmp_path, tiny_model, monkeypatch):
    """Neither by a job that succeeds nor by ones that fail in every way, with presigned sources among them."""
    token = "a-session-token-that-must-not-be-written"
    monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    monkeypatch.chdir(tmp_path)
    signed = store.client().generate_presigned_url("get_object", {"Bucket": bucket, "Key": "data/set/00001.tar"})
    signature = signed.partition("?")[2]
    proxied = signed.replace(store.address, os.environ["AWS_ENDPOINT_URL"])
    base = ["--corpus", "c", "--model", tiny_model, "--db", f"s3://{bucket}/db"]
    runs = [
        (["embed", signed, *base, "--json"], None, 0),
        (["embed", f"s3://{bucket}/data/set", *base], None, 0),
        (["info", "c", "--db", f"s3://{bucket}/db"], None, 0),
        (["embed", f"s3://key:{SECRET}@{bucket}/data/set", *base], None, 1),
        (["embed", signed.replace("00001.tar", "00009.tar"), *base], None, 1),
        (["info", "--db", f"s3://key:{SECRET}@{bucket}/db"], None, 1),
        (["info", "c", "--db", f"s3://{bucket}/db"], 403, 1),
        (["info", "c", "--db", f"s3://{bucket}/db"], 503, 1),
        (["embed", proxied, *base], 403, 1),
        (["embed", proxied, *base], 503, 1),
        (["embed", f"s3://{bucket}/data/set", *base], 503, 1),
    ]
    said = ""
    for arguments, fault, status in runs:
        faults["fault"] = lambda *_, fault=fault: fault
        if status == 0:
            found, out, err = told(*arguments)
            assert found == 0, (arguments, err)
            said += out + err
        else:
            with pytest.raises(TailwagError) as error:
                main(["--debug", *arguments])
            assert "\n" not in str(error.value)
            said += "".join(traceback.format_exception(error.value))
    faults["fault"] = lambda *_: None
    assert len(Corpus.open(f"s3://{bucket}/db", "c")) == SHARDS * (SAMPLES - 1)
    written = {**store.contents(bucket), "said": said.encode()}
    written |= {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    parts = [part.partition("=")[2] for part in signature.split("&")]
    for secret in (SECRET, ACCESS_KEY, token, "Signature=", *[part for part in parts if len(part) > 10]):
        assert [name for name, content in written.items() if secret.encode() in content] == [], secret
    locations = [record.location for record in Ledger(Database(f"s3://{bucket}/db"), "c").records().values()]
    assert signed.partition("?")[0] in locations


def test_a_refused_store_is_told_in_one_line(store, bucket, monkeypatch):
    with faulty_proxy(store, lambda *_: 403) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(TailwagError, match="the store answers 403 Forbidden.*check the credentials"):
            Database(f"s3://{bucket}/denied").try_table("c")
        with pytest.raises(StoreFailure, match="the store refuses .*check the credentials in the environment"):
            Database(f"s3://{bucket}/denied").tables()
