"""Released vectors on an object store become the rows that the same files here become, through the store's failures."""

from __future__ import annotations

import re
import time
import traceback
import warnings
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailwag.embed.corpus import Corpus
from tailwag.embed.database import Database
from tailwag.embed.encoder import Encoder
from tailwag.embed.imports.job import plan_import, run_import
from tailwag.embed.ledger import Ledger
from tailwag.embed.ranged_reading import BLOCKS_AHEAD, open_ranged
from tailwag.embed.space import Space
from tailwag.embed.storage import StorePath, locate
from tailwag.errors import BadInput, Caution, NotFound, TailwagError
from tailwag.main import main

from ...command_runs import told
from ...object_store import ACCESS_KEY, SECRET, faulty_proxy
from .released import vectors_of, with_columns, write_clip_retrieval, write_datacomp, write_matrix
from .test_import_faults import PLANTED, archive, cut

SPACE = Space.by_name("ViT-B-32", "openai", 32)
ROWS = 6000
BLOCK = 64 << 10
# What is asked of a store that is down, in tests: not for minutes.
IMPATIENT = {
    "TAILWAG_STORE_ATTEMPTS": "3",
    "OBJECT_STORE_CLIENT_MAX_RETRIES": "1",
    "OBJECT_STORE_CLIENT_RETRY_TIMEOUT": "2",
    "TAILWAG_LEASE_SECONDS": "1",
}


@pytest.fixture
def store(object_store, monkeypatch):
    for name, value in object_store.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tailwag.embed.store_requests._FIRST_WAIT", 0.01)
    monkeypatch.setattr("tailwag.embed.store_requests._SECONDS_BETWEEN_WORDS", 0.0)
    return object_store


@pytest.fixture
def small_blocks(monkeypatch):
    """Parts of many requests, as real ones are."""
    monkeypatch.setattr("tailwag.embed.ranged_reading.open_ranged", partial(open_ranged, block_bytes=BLOCK))
    monkeypatch.setattr("tailwag.embed.imports.columns._BLOCK_BYTES", BLOCK // 4)


def in_row_groups(path, rows, **columns):
    """Write a parquet anew in row groups of some rows each, with other columns."""
    with_columns(path, **columns)
    pq.write_table(pq.read_table(path), path, row_group_size=rows)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A set of each layout, with parquets of one row group and of several, and with failures."""
    root = tmp_path_factory.mktemp("sets")
    one = write_clip_retrieval(root / "one", {0: ROWS, 2: 3, 10: 0})
    bad = vectors_of(0, "image", ROWS)
    bad[4000] = 0
    write_matrix(one / "img_emb/img_emb_0.npy", bad)
    two = write_clip_retrieval(root / "two", {3: 500, 4: 20}, folders=("images", "texts"), digits=4)
    labels = pa.array(["cat", None, "dog", "owl"] * 125).dictionary_encode()
    keys = [f"k{max(row, 1)}" for row in range(500)]
    in_row_groups(two / "metadata/metadata_0003.parquet", 70, label=labels, image_path=keys)
    write_datacomp(root / "dc", {"00ab": 600, "part_1/00cd": 3})
    write_datacomp(root / "packed", {"00ef": 600}, compressed=True)
    in_row_groups(root / "packed/00ef.parquet", 100)
    return root


@pytest.fixture(scope="module")
def bucket(object_store, sets):
    name = object_store.new_bucket()
    object_store.upload(sets, name, "deep/sets")
    return name


def take_in(source, database, **options):
    plan = plan_import([source], database, "c", **options)
    return run_import(plan, Space.by_name("ViT-B-32", "openai", plan.dimension))


def contents(database):
    """Everything the tables hold but times, places and tags."""
    ledger = Ledger(Database(database), "c")
    records = [
        (each.shard, each.rows, each.failures, each.size, each.fingerprint.partition(" ")[0])
        for each in ledger.records().values()
    ]
    return Corpus.open(database, "c")._dataset.to_table(), ledger.failures().sort_by("key"), sorted(records)


@pytest.fixture(scope="module")
def twin(sets, tmp_path_factory):
    """The set that is imported most, from its folder."""
    database = tmp_path_factory.mktemp("twin") / "db"
    take_in(sets / "one", database)
    return contents(database)


@pytest.mark.parametrize(
    ("name", "vectors"), [("one", None), ("two", None), ("dc", "b32"), ("dc", "l14"), ("packed", "l14")]
)
def test_every_layout_gives_the_rows_that_it_gives_from_a_folder(
    store, bucket, sets, tmp_path, small_blocks, name, vectors
):
    source = f"s3://{bucket}/deep/sets/{name}"
    for where, database in ((sets / name, "here"), (f"{source}/", "there")):
        take_in(where, tmp_path / database, vectors=vectors)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    # Parts are recognised wherever they lie: an import may begin here and go on there.
    for where in (source, sets / name):
        for database in ("here", "there"):
            assert plan_import([where], tmp_path / database, "c", vectors=vectors).parts == ()


def test_a_whole_bucket_is_a_source(store, sets, tmp_path):
    name = store.new_bucket()
    for file in sorted((sets / "two").rglob("*.*")):
        store.client().upload_file(str(file), name, file.relative_to(sets / "two").as_posix())
    take_in(f"s3://{name}", tmp_path / "db")
    assert set(Corpus.open(tmp_path / "db", "c")._dataset.to_table().column("shard").to_pylist()) == {
        f"{name}/3",
        f"{name}/4",
    }


def test_from_a_bucket_into_a_database_in_it_command_by_command(store, bucket, sets, tmp_path, tiny_model):
    """What docs/importing.md tells: look, import, ask; the named model is checked on captions that lie on the store."""
    encoder = Encoder.load(tiny_model)
    root = write_clip_retrieval(tmp_path / "laion", {0: 40, 1: 5}, encode=encoder.encode_texts)
    source, database = store.upload(root, bucket, "laion"), f"s3://{bucket}/db"
    command = ["import", source, "--corpus", "c", "--model", tiny_model, "--db", database]
    status, out, err = told(*command, "--dry-run")
    assert (status, out) == (0, "") and "pairs    45 of 32 dimensions" in err
    assert not any(key.startswith("db/") for key in store.contents(bucket))
    status, out, err = told(*command)
    assert status == 0 and "checked on captions, median cosine 1.0" in err and "45 pairs: 45 rows" in out
    here = tmp_path / "db"
    run_import(plan_import([root], here, "c"), encoder.space)
    assert contents(database) == contents(here)
    assert "nothing to do" in told(*command)[2]
    status, out, err = told("count", "c", "a photo of thing 1", "--threshold", "-1", "--db", database)
    assert status == 0 and "45" in out, err


def test_captions_are_encoded_from_a_store_too(store, tmp_path):
    root = write_clip_retrieval(tmp_path / "set", {0: 5}, text=False)
    source = store.upload(root, store.new_bucket(), "set")
    for where, database in ((root, "here"), (source, "there")):
        plan = plan_import([where], tmp_path / database, "c")
        run_import(plan, SPACE, encode_captions=lambda captions: vectors_of(9, "text", len(captions)))
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


@pytest.mark.parametrize("name", ["one", "packed"])
def test_files_are_read_front_to_back_each_byte_once_and_in_pieces(
    store, bucket, tmp_path, small_blocks, monkeypatch, name
):
    asked, sound = [], StorePath.read_bytes

    def noted(self, start=None, end=None):
        asked.append((str(self), start, end))
        return sound(self, start, end)

    plan = plan_import(
        [f"s3://{bucket}/deep/sets/{name}"], tmp_path / "db", "c", vectors="b32" if name == "packed" else None
    )
    monkeypatch.setattr(StorePath, "read_bytes", noted)
    run_import(plan, SPACE)
    assert max(end - start for _, start, end in asked) <= BLOCK
    for part in plan.parts:
        for file in part.files:
            pieces = [end - start for path, start, end in asked if path == str(file)]
            # Both ends twice, to see that it did not change; a header; and what is fetched ahead of an archive's array.
            more = 4 * BLOCK + 2 * BLOCK + (2 * (BLOCKS_AHEAD + 2) * BLOCK if file.suffix == ".npz" else 0)
            assert sum(pieces) <= file.size + more, file
    assert len(asked) > 30


def test_no_more_of_a_file_than_a_few_blocks_of_each_column_is_in_memory(store, bucket):
    path = next(iter(locate(f"s3://{bucket}/deep/sets/one/metadata").iterdir()))
    ranges = [[(0, path.size // 3)], [(path.size // 3, path.size - 9)]]
    with open_ranged(path, 1000, ranges) as file:
        whole = path.read_bytes()
        for position in range(0, path.size // 3, 500):  # two streams by turns
            for start in (position, position + path.size // 3):
                file.seek(start)
                assert file.read(500) == whole[start : start + 500]
                assert len(file.raw._blocks) <= 2 * (BLOCKS_AHEAD + 1)
        file.seek(-9, 2)  # in neither
        assert file.read() == whole[-9:]


def test_a_store_that_throttles_and_cuts_in_the_middle_of_a_part_is_asked_again(
    store, bucket, tmp_path, small_blocks, twin, monkeypatch
):
    def fault(method, path, number):
        return (503, 500, "cut")[number // 4 % 3] if number % 4 == 0 else None

    with faulty_proxy(store, fault) as address, pytest.warns(Caution, match="trying again in"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        take_in(f"s3://{bucket}/deep/sets/one", tmp_path / "db")
    assert contents(tmp_path / "db") == twin


@pytest.mark.parametrize(("requests", "on_store"), [(2, False), (15, False), (40, False), (70, False), (70, True)])
def test_a_store_that_stays_down_is_told_in_one_line_and_the_same_command_goes_on(
    store, bucket, tmp_path, small_blocks, twin, monkeypatch, tiny_model, requests, on_store
):
    down = []
    for name, value in IMPATIENT.items():
        monkeypatch.setenv(name, value)
    database = f"s3://{store.new_bucket()}/db" if on_store else str(tmp_path / "db")
    command = ["import", f"s3://{bucket}/deep/sets/one", "--corpus", "c", "--db", database]
    command += ["--model", tiny_model, "--unverified"]
    with faulty_proxy(store, lambda method, path, number: 503 if down and number > requests else None) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        down.append(True)
        with warnings.catch_warnings(action="ignore"):
            status, _, err = told(*command)
        assert status == 1 and len(err.strip().splitlines()[-1]) > 20 and "Traceback" not in err
        assert re.search("give the command again|cannot be opened|the store answers", err.strip().splitlines()[-1])
        down.clear()
        if on_store:
            time.sleep(1.1)  # until the lease has run out, which could not be given back
        status, _, err = told(*command)
        assert status == 0, err
        assert contents(database) == twin


@pytest.fixture
def changing(store, tmp_path):
    """A set on a store, larger than the two ends by which files are recognised, and how to put another in its place."""
    root = write_clip_retrieval(tmp_path / "set", {0: ROWS}, text=False)
    bucket = store.new_bucket()
    source = store.upload(root, bucket, "set")

    def replace(change):
        """Upload it in parts, as large files are: the store's tag is another one, even of the same content."""
        content = bytes(change(bytearray((root / "img_emb/img_emb_0.npy").read_bytes())))
        client, place = store.client(), {"Bucket": bucket, "Key": "set/img_emb/img_emb_0.npy"}
        place["UploadId"] = client.create_multipart_upload(**place)["UploadId"]
        tag = client.upload_part(**place, PartNumber=1, Body=content)["ETag"]
        client.complete_multipart_upload(**place, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": tag}]})

    return source, replace


def another_number(content):
    content[len(content) // 2] ^= 1
    return content


def half(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize("change", [another_number, half])
def test_a_part_that_is_replaced_while_it_is_read_is_refused(
    store, changing, tmp_path, small_blocks, monkeypatch, change
):
    """Also where size and both ends are the same: the store's tag for the content tells."""
    monkeypatch.setenv("TAILWAG_STORE_ATTEMPTS", "2")
    source, replace = changing
    replaced = []

    def replacing(captions):
        if not replaced:
            replaced.append(replace(change))
        return vectors_of(0, "text", len(captions))

    plan = plan_import([source], tmp_path / "db", "c")
    with (
        pytest.raises(TailwagError, match=r"s3://.*img_emb_0\.npy, .* were changed while they were read, and nothing"),
        warnings.catch_warnings(action="ignore"),
    ):
        monkeypatch.setattr("tailwag.embed.imports.part_rows.BLOCK_ROWS", 500)
        run_import(plan, SPACE, encode_captions=replacing)
    assert len(Corpus.open(tmp_path / "db", "c")) == 0
    with pytest.raises(TailwagError, match=r"img_emb_0\.npy, .* were changed after they were listed, and nothing"):
        run_import(plan, SPACE, encode_captions=replacing)


def test_a_part_that_changed_after_it_was_imported_is_told(store, changing, tmp_path):
    source, replace = changing

    def made(captions):
        return vectors_of(0, "text", len(captions))

    run_import(plan_import([source], tmp_path / "db", "c"), SPACE, encode_captions=made)
    tags = plan_import([source], tmp_path / "db", "d").parts[0].tags
    replace(bytes)
    assert plan_import([source], tmp_path / "db", "d").parts[0].tags != tags
    assert plan_import([source], tmp_path / "db", "c").parts == ()
    replace(lambda content: content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BadInput, match=r"part 'set/0' was imported from s3://.* are not the same files"):
        plan_import([source], tmp_path / "db", "c")


def refused(source, database, **options):
    with pytest.raises(TailwagError) as caught:
        plan_import([source], database, "c", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# An empty folder is nothing on a store.
@pytest.mark.parametrize("plant", [plant for plant, message in PLANTED if "both hold vectors" not in message])
def test_files_that_do_not_fit_are_told_as_in_a_folder(store, tmp_path, plant):
    root = write_clip_retrieval(tmp_path / "set", {0: 6, 1: 4})
    plant(root)
    source = store.upload(root, store.new_bucket(), "set")
    assert refused(source, tmp_path / "db") == refused(root, tmp_path / "db").replace(str(root), source)


@pytest.mark.parametrize(
    "plant",
    [
        lambda root: (root / "aa.npz").unlink(),
        lambda root: cut(root / "aa.npz"),
        lambda root: archive(root, 5, ("img",)),
        lambda root: archive(root, 4),
    ],
)
def test_archives_that_do_not_fit_are_told_as_in_a_folder(store, tmp_path, plant):
    root = write_datacomp(tmp_path / "set", {"aa": 5, "bb": 5})
    plant(root)
    source = store.upload(root, store.new_bucket(), "set")
    here = refused(root, tmp_path / "db", vectors="b32")
    assert refused(source, tmp_path / "db", vectors="b32") == here.replace(str(root), source)


def test_an_archives_damaged_bytes_are_found_by_its_checksum(store, tmp_path):
    root = write_datacomp(tmp_path / "dc", {"bb": 2000})
    data = bytearray((root / "bb.npz").read_bytes())
    data[60_000] ^= 1
    (root / "bb.npz").write_bytes(data)
    source = store.upload(root, store.new_bucket(), "dc")
    with pytest.raises(TailwagError, match=r"s3://.*/bb\.npz\[b32_img\] cannot be read: Bad CRC"):
        take_in(source, tmp_path / "db", vectors="b32")


def test_what_is_no_source_is_told(store, bucket, tmp_path):
    for source in (f"s3://{bucket}/nowhere", "s3://no-such-bucket/set"):
        with pytest.raises(NotFound, match=f"no files lie below {source}: name the prefix that holds the vectors"):
            plan_import([source], tmp_path / "db", "c")
    with pytest.raises(BadInput, match="https://host/set: a web server does not list its files"):
        plan_import(["https://host/set?X-Amz-Signature=abc"], tmp_path / "db", "c")
    with pytest.raises(BadInput, match=f"s3://{bucket}/deep/sets/one/metadata is laid out neither"):
        plan_import([f"s3://{bucket}/deep/sets/one/metadata"], tmp_path / "db", "c")
    with pytest.raises(BadInput, match="s3://bucket/set was given with credentials in it"):
        plan_import([f"s3://key:{SECRET}@bucket/set"], tmp_path / "db", "c")


def test_no_secret_is_written_anywhere(store, bucket, tmp_path, tiny_model, monkeypatch):
    """Neither by an import that succeeds nor by ones that fail in every way."""
    token = "a-session-token-that-must-not-be-written"
    for name, value in {**IMPATIENT, "AWS_SESSION_TOKEN": token, "TAILWAG_STORE_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    mine = store.new_bucket()
    base = ["--corpus", "c", "--model", tiny_model, "--unverified", "--db", f"s3://{mine}/db"]
    source, faults, said = f"s3://{bucket}/deep/sets/two", [], ""
    with faulty_proxy(store, lambda *request: faults[0](*request) if faults else None) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        for fault in (
            lambda *_: 403,
            lambda *_: 503,
            lambda method, path, number: 403 if path.endswith(".parquet") and method == "GET" else None,
            lambda method, path, number: "cut" if path.endswith(".npy") and method == "GET" else None,
        ):
            faults[:] = [fault]
            with pytest.raises(TailwagError) as error, warnings.catch_warnings(action="ignore"):
                main(["--debug", "import", source, *base])
            assert "\n" not in str(error.value)
            said += "".join(traceback.format_exception(error.value))
        with pytest.raises(BadInput) as error:
            main(["--debug", "import", f"s3://key:{SECRET}@{bucket}/deep/sets/two", *base])
        said += "".join(traceback.format_exception(error.value))
        faults.clear()
        status, out, err = told("import", source, *base, "--json")
        assert status == 0, err
        said += out + err
    written = {**store.contents(mine), "said": said.encode()}
    written |= {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(written) > 3
    for secret in (SECRET, ACCESS_KEY, token):
        assert [name for name, content in written.items() if secret.encode() in content] == [], secret
