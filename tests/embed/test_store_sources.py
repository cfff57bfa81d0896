"""Sources on an object store and on a web server give what the same files give on this machine."""

from __future__ import annotations

import io
import random
from contextlib import nullcontext

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tailwag.embed.image_folders import ImageFolder
from tailwag.embed.ranged_reading import open_ranged
from tailwag.embed.sources import Shard, find_tars, sort_sources, tar_shards
from tailwag.embed.storage import StorePath, locate
from tailwag.embed.store_requests import StoreFailure, without_secrets
from tailwag.embed.tar_shards import read_tar, read_tar_images
from tailwag.errors import BadInput, NotFound, TailwagError
from tests.object_store import SECRET, faulty_proxy

from .shards import picture, sound_members, sound_shard, write_tar


@pytest.fixture
def store(object_store, monkeypatch):
    for name, value in object_store.environment().items():
        monkeypatch.setenv(name, value)
    return object_store


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Shards in two folders, one with statistics, one with pictures beside it; and a folder of images."""
    root = tmp_path_factory.mktemp("files")
    for number in range(10):
        sound_shard(root / "one" / f"{number:05d}.tar", range(number, number + 2))
    sound_shard(root / "two" / "00000.tar", range(3))
    (root / "two" / "00000_stats.json").write_text('{"successes": 3}')
    (root / "two" / "._00000.tar").write_bytes(b"of macOS")
    (root / "two" / "beside.jpg").write_bytes(picture(1))
    for path in ("pets/cats/tom.jpg", "pets/cats/tim.jpg", "pets/dogs/rex.png", "pets/.hidden/x.jpg"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(picture(len(path), format="PNG" if path.endswith("png") else "JPEG"))
    (root / "pets" / "cats" / "tim.txt").write_text("a grey cat")
    (root / "pets" / "dogs" / "lonely.txt").write_text("no picture")
    (root / "pets" / "captions.csv").write_text("file_name,caption\ndogs/rex.png,a dog\ngone.jpg,away\n")
    return root


@pytest.fixture
def bucket(store, files):
    name = store.new_bucket()
    store.upload(files, name, "data")
    return name


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("one/00001.tar", ["one/00001"]),
        ("one/{00000..00001}.tar", ["one/00000", "one/00001"]),
        ("one/{00000..00009}.tar", [f"one/{number:05d}" for number in range(10)]),
        ("{two,one}/00000.tar", ["two/00000", "one/00000"]),
        ("*/00000.tar", ["one/00000", "two/00000"]),
        ("one/0000[12].tar", ["one/00001", "one/00002"]),
        ("two", ["two/00000"]),
        ("two/", ["two/00000"]),
        ("", [*(f"one/{number:05d}" for number in range(10)), "two/00000"]),
    ],
)
def test_tars_are_found_and_named_as_on_this_machine(bucket, files, monkeypatch, pattern, names):
    shards = tar_shards(find_tars([f"s3://{bucket}/data/{pattern}"] * 2))
    assert [shard.name for shard in shards] == names
    monkeypatch.chdir(files)
    local = tar_shards(find_tars([pattern or "."]))
    assert [shard.name for shard in local] == names
    for here, there in zip(local, shards, strict=True):
        assert (there.size, there.expected) == (here.size, here.expected)
        assert there.fingerprint().partition(" ")[0] == here.fingerprint()
        assert there.is_same_as(here.fingerprint()) and here.is_same_as(there.fingerprint())


def test_a_whole_bucket_is_a_source(store, files):
    name = store.new_bucket()
    store.client().upload_file(str(files / "one" / "00003.tar"), name, "00003.tar")
    assert [shard.name for shard in tar_shards(find_tars([f"s3://{name}"]))] == [f"{name}/00003"]


def test_what_is_missing_is_told(bucket):
    with pytest.raises(NotFound, match=f"3 of the sources do not exist: s3://{bucket}/data/one/00010.tar, "):
        find_tars([f"s3://{bucket}/data/one/{{00000..00012}}.tar"])
    with pytest.raises(NotFound, match=f"2 of the sources do not exist: s3://{bucket}/data/three/00000.tar, "):
        sort_sources([f"s3://{bucket}/data/{{two,three,four}}/00000.tar"])
    with pytest.raises(NotFound, match=f"no file matches s3://{bucket}/data/one/\\*.zip"):
        find_tars([f"s3://{bucket}/data/one/*.zip"])
    with pytest.raises(NotFound, match="1 of the sources do not exist: s3://no-such-bucket/x.tar"):
        find_tars(["s3://no-such-bucket/x.tar"])


def test_tars_and_folders_of_images_are_told_apart(bucket):
    tars, roots, beside = sort_sources([f"s3://{bucket}/data/pets", f"s3://{bucket}/data/two"])
    assert [str(path) for path in tars] == [f"s3://{bucket}/data/two/00000.tar"]
    assert [str(path) for path in roots] == [f"s3://{bucket}/data/pets"]
    assert beside == 1


def test_a_prefix_is_a_folder_and_no_beginning_of_names(bucket, store, files):
    client = store.client()
    for key in ("data/two-more/00000.tar", "data/twofold.tar"):
        client.upload_file(str(files / "two" / "00000.tar"), bucket, key)
    client.put_object(Bucket=bucket, Key="data/two/", Body=b"")  # as consoles mark a folder
    assert [str(path) for path in find_tars([f"s3://{bucket}/data/two"])] == [f"s3://{bucket}/data/two/00000.tar"]
    assert ImageFolder(locate(f"s3://{bucket}/data/two")).files == ("beside.jpg",)
    with pytest.raises(NotFound, match="1 of the sources do not exist"):
        find_tars([f"s3://{bucket}/data/tw"])


def test_a_tar_is_read_as_on_this_machine(store, tmp_path):
    members = [*sound_members(range(5)), ("a.txt", b"lonely"), ("b.jpg", b"no picture"), ("b.json", b"{")]
    sound = write_tar(tmp_path / "set" / "sound.tar", members)
    whole = sound.read_bytes()
    (tmp_path / "set" / "cut.tar").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "set" / "empty.tar").write_bytes(b"")
    (tmp_path / "set" / "no.tar").write_bytes(b"no tar at all" * 999)
    address = store.upload(tmp_path / "set", store.new_bucket(), "deep/set")
    local, there = tar_shards(find_tars([str(tmp_path / "set")])), tar_shards(find_tars([address]))
    assert [shard.name for shard in there] == [shard.name for shard in local]
    for one, other in zip(there, local, strict=True):
        assert list(read_tar(one)) == list(read_tar(other))
        assert one.fingerprint().partition(" ")[0] == other.fingerprint()
    wanted = {"000000001", "000000004", "nowhere"}
    assert read_tar_images(locate(f"{address}/sound.tar"), wanted) == read_tar_images(sound, wanted)


def test_a_folder_of_images_is_read_as_on_this_machine(bucket, files):
    here, there = ImageFolder(files / "pets"), ImageFolder(locate(f"s3://{bucket}/data/pets"))
    assert (there.name, there.files) == (here.name, here.files)
    assert "pets/.hidden/x.jpg" not in there.files
    local, remote = here.shards((), 0), there.shards((), 0)
    assert [(shard.name, shard.size, shard.files) for shard in remote] == [
        (shard.name, shard.size, shard.files) for shard in local
    ]
    assert list(there.read(remote[0])) == list(here.read(local[0]))


@pytest.fixture(scope="module")
def object_of_random_bytes(object_store):
    content = random.Random(0).randbytes(5000)
    bucket = object_store.new_bucket()
    object_store.client().put_object(Bucket=bucket, Key="x", Body=content)
    return f"s3://{bucket}/x", content


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 3000)),
        st.tuples(st.just("seek"), st.integers(0, 6000)),
        st.tuples(st.just("end"), st.integers(-5000, 0)),
    ),
    max_size=12,
)


@given(steps=_steps, block=st.sampled_from([64, 1000, 4999, 5000, 5001, 100_000]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_of_a_store_reads_and_seeks_as_any_file(store, object_of_random_bytes, steps, block):
    address, content = object_of_random_bytes
    path = locate(address).look()
    with open_ranged(path, block) as file, io.BytesIO(content) as twin:
        for step, number in steps:
            if step == "read":
                assert file.read(number) == twin.read(number)
            else:
                whence = io.SEEK_SET if step == "seek" else io.SEEK_END
                assert file.seek(number, whence) == twin.seek(number, whence)
            assert file.tell() == twin.tell()
            assert len(file.raw._blocks) <= 3  # and no more of the file is in memory


def test_a_changed_file_is_not_the_same_shard(bucket, store):
    shard = tar_shards(find_tars([f"s3://{bucket}/data/two/00000.tar"]))[0]
    before = shard.fingerprint()
    client = store.client()
    body = client.get_object(Bucket=bucket, Key="data/two/00000.tar")["Body"].read()
    client.put_object(Bucket=bucket, Key="data/two/00000.tar", Body=body[:-1] + b"\x01")
    assert shard.fingerprint() != before
    assert not tar_shards(find_tars([f"s3://{bucket}/data/two"]))[0].is_same_as(before)
    client.put_object(Bucket=bucket, Key="data/two/00000.tar", Body=body)
    client.copy_object(Bucket=bucket, Key="copy/two/00000.tar", CopySource=f"{bucket}/data/two/00000.tar")
    assert tar_shards(find_tars([f"s3://{bucket}/copy/two"]))[0].is_same_as(before)
    client.delete_object(Bucket=bucket, Key="data/two/00000.tar")
    with pytest.raises(NotFound, match="is not there any more"):
        shard.fingerprint()


def test_presigned_addresses_are_read_and_printed_without_their_signature(store, bucket, files):
    signed = store.client().generate_presigned_url("get_object", {"Bucket": bucket, "Key": "data/one/00003.tar"})
    assert "?" in signed
    (shard,) = tar_shards(find_tars([signed]))
    assert shard.name == "one/00003"
    assert "?" not in repr(shard) and "ignature" not in f"{shard} {shard.location!r} {shard.location}"
    here = Shard("one/00003", files / "one" / "00003.tar", shard.size)
    assert list(read_tar(shard)) == list(read_tar(here))
    assert shard.is_same_as(here.fingerprint())


def test_several_addresses_of_a_web_server_are_named_by_braces(store, bucket):
    for number in (0, 1):
        store.client().put_object_acl(Bucket=bucket, Key=f"data/one/{number:05d}.tar", ACL="public-read")
    shards = tar_shards(find_tars([f"{store.address}/{bucket}/data/one/{{00000..00001}}.tar"]))
    assert [shard.name for shard in shards] == ["one/00000", "one/00001"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("s3://key:{SECRET}@bucket/x.tar", "s3://bucket/x.tar was given with credentials in it"),
        ("https://me:{SECRET}@host/x.tar?X-Amz-Signature={SECRET}", "https://host/x.tar was given with credentials"),
        ("gs://bucket/x.tar", "gs:// needs a package that is not installed"),
    ],
)
def test_addresses_that_are_refused(store, source, message):
    with pytest.raises(BadInput, match=message) as told:
        find_tars([source.replace("{SECRET}", SECRET)])
    assert SECRET not in str(told.value)


def test_an_unencrypted_store_must_be_meant(store, monkeypatch):
    monkeypatch.delenv("AWS_ALLOW_HTTP")
    with pytest.raises(BadInput, match="is not encrypted: set AWS_ALLOW_HTTP=true if that is meant"):
        find_tars(["s3://bucket/x.tar"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://me:{SECRET}@127.0.0.1:1")
    with pytest.raises(BadInput, match="was given with credentials in it") as told:
        find_tars(["s3://bucket/x.tar"])
    assert SECRET not in str(told.value)


@pytest.mark.parametrize("status", [403, 503])
def test_a_store_that_refuses_or_fails_is_named_without_secrets(store, bucket, monkeypatch, status):
    monkeypatch.setenv("TAILWAG_STORE_ATTEMPTS", "2")
    monkeypatch.setattr("tailwag.embed.store_requests._SECONDS_BETWEEN_WORDS", 0.0)
    signed = store.client().generate_presigned_url("get_object", {"Bucket": bucket, "Key": "data/one/00003.tar"})
    with faulty_proxy(store, lambda *_: status) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        for source in (f"s3://{bucket}/data/one", signed.replace(store.address, address)):
            with pytest.raises(StoreFailure) as told, pytest.warns() if status == 503 else nullcontext():
                find_tars([source])
            message = str(told.value)
            assert ("refuses" if status == 403 else "2 times over 0.5 s") in message and "\n" not in message
            assert "ignature" not in message and SECRET not in message


def test_nobody_listens(store, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("TAILWAG_STORE_ATTEMPTS", "1")
    with pytest.raises(TailwagError, match="s3://bucket/x.tar: the store failed .*Could not connect"):
        find_tars(["s3://bucket/x.tar"])
    with pytest.raises(StoreFailure, match=r"http://127.0.0.1:9/x.tar: the store failed \(no answer\)"):
        find_tars(["http://127.0.0.1:9/x.tar?X-Amz-Signature=abc"])


def test_reading_goes_on_through_errors_and_broken_lines(store, bucket, files, monkeypatch):
    def fault(method, path, number):
        return (503, 500, "cut")[number // 3 % 3] if number % 3 == 0 else None

    monkeypatch.setattr("tailwag.embed.store_requests._FIRST_WAIT", 0.01)
    monkeypatch.setattr("tailwag.embed.store_requests._SECONDS_BETWEEN_WORDS", 0.0)
    with faulty_proxy(store, fault) as address, pytest.warns(match="trying again in"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        shards = tar_shards(find_tars([f"s3://{bucket}/data/one"]))
        found = [list(read_tar(shard)) for shard in shards]
    assert found == [list(read_tar(shard)) for shard in tar_shards(find_tars([str(files / "one")]))]


def test_a_store_that_breaks_off_is_not_a_tar_that_breaks_off(store, bucket, monkeypatch):
    """What was read before the store failed must not become a shorter shard."""
    monkeypatch.setenv("TAILWAG_STORE_ATTEMPTS", "1")
    shard = tar_shards(find_tars([f"s3://{bucket}/data/two"]))[0]
    with faulty_proxy(store, lambda *_: 503) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(StoreFailure, match="1 times over 0 s: give the command again"):
            list(read_tar(shard))


def test_secrets_are_taken_out_of_any_text(store):
    text = f"GET https://h/x?X-Amz-Signature=abc failed for {SECRET} at s3://k:{SECRET}@b/x and (https://u:p@h/y?z=1)"
    cleaned = without_secrets(text)
    assert SECRET not in cleaned and "Signature" not in cleaned and "u:p" not in cleaned and "z=1" not in cleaned
    assert "https://h/x?…" in cleaned


@pytest.mark.parametrize(
    ("address", "name", "stem", "parent"),
    [
        ("s3://bucket/a/b.c.tar", "b.c.tar", "b.c", "s3://bucket/a"),
        ("s3://bucket/x.tar", "x.tar", "x", "s3://bucket"),
        ("s3://bucket", "bucket", "bucket", "s3://bucket"),
    ],
)
def test_parts_of_an_address(address, name, stem, parent):
    path = StorePath(address)
    assert (path.name, path.stem, str(path.parent)) == (name, stem, parent)
    assert str(path.parent / path.name) == address or path == path.parent
