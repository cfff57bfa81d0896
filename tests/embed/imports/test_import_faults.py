"""Files that do not fit together are refused with their names, before anything is written."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tailwag.embed.corpus import Corpus
from tailwag.embed.database import Database
from tailwag.embed.imports.job import plan_import, run_import
from tailwag.embed.space import Space
from tailwag.errors import BadInput, NotFound, SpaceMismatch, TailwagError

from .released import vectors_of, with_columns, write_clip_retrieval, write_datacomp, write_matrix

SPACE = Space.by_name("ViT-B-32", "openai", 32)


@pytest.fixture
def root(tmp_path):
    return write_clip_retrieval(tmp_path / "set", {0: 6, 1: 4})


def refused(root, database, **options):
    with pytest.raises(TailwagError) as caught:
        plan_import([root], database, "c", **options)
    assert not Database(database).has_table("c")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def cut(path, by=100):
    path.write_bytes(path.read_bytes()[:-by])


def image(root, matrix, name="img_emb_1.npy"):
    write_matrix(root / "img_emb" / name, matrix)


def fewer_rows(root):
    rows = dict.fromkeys(pq.read_schema(root / "metadata/metadata_1.parquet").names)
    with_columns(root / "metadata/metadata_1.parquet", **rows | {"image_path": ["a", "b", "c"]})


def sound(rows=4, dimension=32):
    return vectors_of(1, "image", rows, dimension)


# What is done to a sound set, and what must be said of it.
PLANTED = [
    (lambda root: (root / "text_emb/text_emb_1.npy").unlink(), "img_emb_1.npy has no partner text_emb 1"),
    (lambda root: (root / "metadata/metadata_0.parquet").unlink(), "img_emb_0.npy has no partner metadata 0"),
    (lambda root: (root / "img_emb/img_emb_0.npy").unlink(), "has no partner img_emb 0"),
    (lambda root: image(root, sound(5)), "img_emb_1.npy has 5, .*metadata_1.parquet has 4, .*text_emb_1.npy has 4"),
    (fewer_rows, "metadata_1.parquet has 3"),
    (lambda root: image(root, sound(4, 16)), "img_emb_0.npy has 32, .*img_emb_1.npy 16"),
    (lambda root: image(root, np.ones((4, 32), np.int8)), "img_emb_1.npy holds int8, not floating-point numbers"),
    (lambda root: image(root, np.full((4, 32), "x", object)), "img_emb_1.npy holds object, not floating-point numbers"),
    (lambda root: image(root, np.ones(128, np.float16)), r"img_emb_1.npy is of shape \(128,\)"),
    (lambda root: image(root, np.asfortranarray(sound())), "img_emb_1.npy is stored column by column"),
    (lambda root: cut(root / "img_emb/img_emb_1.npy"), "img_emb_1.npy is cut: 4 rows take 384 bytes, it has 284"),
    (lambda root: cut(root / "img_emb/img_emb_1.npy", 300), "img_emb_1.npy is no numpy array"),
    (lambda root: (root / "img_emb/img_emb_1.npy").write_bytes(b""), "img_emb_1.npy is no numpy array"),
    (lambda root: (root / "img_emb/img_emb_1.npy").open("ab").write(b"12"), "img_emb_1.npy is longer than it says"),
    (lambda root: cut(root / "metadata/metadata_1.parquet"), "metadata_1.parquet cannot be read as parquet"),
    (lambda root: image(root, sound(), "img_emb_01.npy"), "img_emb_01.npy and .*img_emb_1.npy both have the number 1"),
    (lambda root: image(root, sound(), "all.npy"), "all.npy ends in no number"),
    (lambda root: (root / "images").mkdir(), "img_emb and .*images both hold vectors of one side"),
    (lambda root: (root / "img_emb").rename(root / "elsewhere"), r"holds no img_emb/ \(or images/\)"),
]


@pytest.mark.parametrize(("plant", "message"), PLANTED)
def test_a_planted_fault_is_told_with_the_files_name(tmp_path, root, plant, message):
    plant(root)
    assert re.search(message, refused(root, tmp_path / "db"))


def test_several_faults_are_told_together(tmp_path, root):
    cut(root / "img_emb/img_emb_1.npy")
    (root / "text_emb/text_emb_0.npy").unlink()
    message = refused(root, tmp_path / "db")
    assert "img_emb_1.npy is cut" in message and "no partner text_emb 0" in message


def archive(root, rows, sides=("img", "txt")):
    np.savez(root / "aa.npz", **{f"b32_{side}": vectors_of(1, side, rows) for side in sides})


@pytest.mark.parametrize(
    ("plant", "message"),
    [
        (lambda root: (root / "aa.npz").unlink(), r"aa\.parquet has no partner aa\.npz"),
        (lambda root: (root / "aa.parquet").unlink(), r"aa\.npz has no partner aa\.parquet"),
        (lambda root: cut(root / "aa.npz"), r"aa\.npz is cut or no \.npz archive"),
        (lambda root: archive(root, 5, ("img",)), "holds no array 'b32_txt', only b32_img"),
        (lambda root: archive(root, 4), r"aa\.npz\[b32_img\] has 4, .*aa\.parquet has 5"),
    ],
)
def test_datacomps_faults_are_told(tmp_path, plant, message):
    root = write_datacomp(tmp_path / "dc", {"aa": 5, "bb": 5})
    plant(root)
    assert re.search(message, refused(root, tmp_path / "db", vectors="b32"))


def test_an_archives_damaged_bytes_are_found_by_its_checksum(tmp_path):
    root = write_datacomp(tmp_path / "dc", {"aa": 500, "bb": 2000})
    data = bytearray((root / "bb.npz").read_bytes())
    data[60_000] ^= 1
    (root / "bb.npz").write_bytes(data)
    plan = plan_import([root], tmp_path / "db", "c", vectors="b32")
    with pytest.raises(TailwagError, match=r"bb\.npz\[b32_img\] cannot be read: Bad CRC"):
        run_import(plan, SPACE)
    corpus = Corpus.open(tmp_path / "db", "c")
    assert len(corpus) == 500


@pytest.mark.parametrize(("vectors", "message"), [(None, "pass --vectors b32 or l14"), ("b32", "leave --vectors out")])
def test_whose_vectors_is_asked_where_there_is_a_choice(tmp_path, root, vectors, message):
    folder = write_datacomp(tmp_path / "dc", {"aa": 5}) if vectors is None else root
    assert message in refused(folder, tmp_path / "db", vectors=vectors)


def test_a_folder_of_anything_else_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    assert "laid out neither as clip-retrieval's output" in refused(tmp_path / "photos", tmp_path / "db")
    with pytest.raises(NotFound, match="is no folder on this machine"):
        plan_import([tmp_path / "nowhere"], tmp_path / "db", "c")


def test_sources_that_differ_are_refused(tmp_path, root):
    other = write_clip_retrieval(tmp_path / "other", {0: 3}, text=False)
    with pytest.raises(BadInput, match="import them one by one"):
        plan_import([root, other], tmp_path / "db", "c")
    write_clip_retrieval(tmp_path / "more" / "set", {0: 3})
    with pytest.raises(BadInput, match="two sources are called 'set'"):
        plan_import([root, tmp_path / "more" / "set"], tmp_path / "db", "c")


def test_a_set_without_vectors_of_captions_is_refused(tmp_path):
    root = write_clip_retrieval(tmp_path / "set", {0: 5}, text=False)
    with pytest.raises(BadInput, match="no vectors of captions, and a corpus needs both: pass --encode-captions"):
        run_import(plan_import([root], tmp_path / "db", "c"), SPACE)


def test_metadata_without_keys_or_with_sizes_that_are_none_is_refused(tmp_path, root):
    with_columns(root / "metadata/metadata_1.parquet", image_path=None, key=None)
    plan = plan_import([root], tmp_path / "db", "c")
    with pytest.raises(BadInput, match=r"metadata_1\.parquet has no column of keys"):
        run_import(plan, SPACE)
    assert len(Corpus.open(tmp_path / "db", "c")) == 6
    with_columns(root / "metadata/metadata_1.parquet", key=pa.array(list("abcd")), width=["wide"] * 4)
    with pytest.raises(BadInput, match=r"metadata_1\.parquet: column 'width' holds no pixels"):
        run_import(plan_import([root], tmp_path / "db", "c"), SPACE)


def test_a_set_that_was_never_normalised_is_refused_unless_asked_for(tmp_path, root):
    write_matrix(root / "img_emb/img_emb_0.npy", vectors_of(0, "image", 6) * np.float16(10))
    plan = plan_import([root], tmp_path / "db", "c")
    with pytest.raises(BadInput, match=r"img_emb_0\.npy holds vectors of length 10, not 1: pass --any-length"):
        run_import(plan, SPACE)
    assert run_import(plan, SPACE, any_length=True).rows == 10


def test_a_part_that_changed_after_it_was_imported_is_told(tmp_path, root):
    run_import(plan_import([root], tmp_path / "db", "c"), SPACE)
    write_matrix(root / "text_emb/text_emb_1.npy", vectors_of(5, "text", 4))
    with pytest.raises(BadInput, match=r"part 'set/1' was imported from .*text_emb_1\.npy, .* are not the same files"):
        plan_import([root], tmp_path / "db", "c")


def test_a_file_that_shrinks_while_it_is_read_is_told(tmp_path, root):
    plan = plan_import([root], tmp_path / "db", "c")
    cut(root / "text_emb/text_emb_1.npy")
    with pytest.raises(TailwagError, match=r"text_emb_1\.npy ends early"):
        run_import(plan, SPACE)
    assert len(Corpus.open(tmp_path / "db", "c")) == 6


def test_another_space_or_dimension_is_refused(tmp_path, root):
    plan = plan_import([root], tmp_path / "db", "c")
    with pytest.raises(BadInput, match="the vectors are of 32 dimensions, and .* makes 48"):
        run_import(plan, Space.by_name("ViT-L-14", "openai", 48))
    run_import(plan, SPACE)
    write_clip_retrieval(root, {2: 3})
    with pytest.raises(SpaceMismatch, match="corpus 'c' holds vectors of ViT-B-32/openai"):
        run_import(plan_import([root], tmp_path / "db", "c"), Space.by_name("ViT-B-32", "laion400m_e32", 32))
    assert len(Corpus.open(tmp_path / "db", "c")) == 10
