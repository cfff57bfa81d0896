"""Sources are found, named and refused as a user of a shell expects."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.embed.braces import expand_braces
from tailwag.embed.image_folders import ImageFolder
from tailwag.embed.sources import find_tars, tar_shards
from tailwag.errors import BadInput, NotFound

from .shards import picture, sound_shard

numbers = st.tuples(st.integers(0, 120), st.integers(0, 120), st.integers(1, 4)).map(
    lambda drawn: "{" + str(drawn[0]).zfill(drawn[2]) + ".." + str(drawn[1]).zfill(drawn[2]) + "}"
)
choices = st.lists(st.sampled_from(["a", "b7", "cc"]), min_size=2, max_size=3).map(
    lambda drawn: "{" + ",".join(drawn) + "}"
)
patterns = st.lists(st.one_of(st.just("x"), st.just("/"), numbers, choices), min_size=1, max_size=3).map("".join)


@pytest.mark.skipif(shutil.which("bash") is None, reason="compared with bash, which is not here")
@settings(max_examples=60, deadline=None)
@given(patterns)
def test_braces_expand_as_in_bash(pattern):
    told = subprocess.run(["bash", "-c", f"echo {pattern}"], capture_output=True, text=True, check=True)
    assert " ".join(expand_braces(pattern)) == told.stdout.strip()


@pytest.fixture
def folder(tmp_path):
    for set_name, shards in (("one", 2), ("two", 1)):
        for shard in range(shards):
            sound_shard(tmp_path / set_name / f"{shard:05d}.tar", range(2))
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("one/00001.tar", ["one/00001"]),
        ("one", ["one/00000", "one/00001"]),
        (".", ["one/00000", "one/00001", "two/00000"]),
        ("one/{00000..00001}.tar", ["one/00000", "one/00001"]),
        ("{one,two}/00000.tar", ["one/00000", "two/00000"]),
        ("*/00000.tar", ["one/00000", "two/00000"]),
    ],
)
def test_tars_are_found_and_named_by_folder_and_stem(folder, monkeypatch, pattern, names):
    monkeypatch.chdir(folder)
    assert [shard.name for shard in tar_shards(find_tars([pattern, pattern]))] == names


def test_a_missing_shard_of_a_pattern_is_told(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(NotFound, match=r"3 of the sources do not exist: one/00002.tar, one/00003.tar, one/00004.tar"):
        find_tars(["one/{00000..00004}.tar"])
    with pytest.raises(NotFound, match=r"no file matches one/\*.zip"):
        find_tars(["one/*.zip"])


def test_an_address_that_nothing_reads_is_refused():
    with pytest.raises(BadInput, match="nothing reads elsewhere:// addresses"):
        find_tars(["elsewhere://bucket/x.tar"])


def test_an_address_of_this_machine_is_a_path(folder):
    assert find_tars([f"file://{folder}/one/00001.tar"]) == [folder / "one" / "00001.tar"]


def test_two_shards_of_one_name_are_refused(folder):
    sound_shard(folder / "deep" / "one" / "00000.tar", range(1))
    with pytest.raises(BadInput, match="would both be shard 'one/00000'"):
        tar_shards(find_tars([str(folder)]))


def test_a_file_that_is_no_tar_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"")
    with pytest.raises(BadInput, match="neither a .tar or .parquet file nor a folder"):
        tar_shards(find_tars([str(tmp_path / "a.zip")]))


def test_img2datasets_own_statistics_tell_how_many_samples(folder):
    shard = tar_shards(find_tars([str(folder / "two")]))[0]
    assert shard.expected is None
    (folder / "two" / "00000_stats.json").write_text('{"count": 7, "successes": 2}')
    assert tar_shards(find_tars([str(folder / "two")]))[0].expected == 2


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing")
    with pytest.raises(NotFound, match="holds neither .tar shards nor images"):
        ImageFolder(tmp_path)


def test_a_caption_table_without_the_columns_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture(1))
    (tmp_path / "captions.csv").write_text("name,words\na.jpg,hello\n")
    with pytest.raises(BadInput, match=r"captions.csv, record 1: needs a column 'file_name' .* a column 'caption'"):
        ImageFolder(tmp_path)
