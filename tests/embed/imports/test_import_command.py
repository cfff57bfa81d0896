"""`tailwag import` from the command line: which model made the vectors is checked, and the same command goes on."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

from tailwag.embed.corpus import Corpus
from tailwag.embed.encoder import Encoder
from tailwag.embed.job.planning import plan_retry
from tailwag.embed.pictures import read_pictures
from tailwag.embed.space import Space
from tailwag.errors import BadInput, Caution, NotFound, SpaceMismatch, TailwagError
from tailwag.main import group

from ...conftest import make_tiny_model
from .released import captions_of, vectors_of, with_columns, write_clip_retrieval


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder.load(tiny_model)


@pytest.fixture
def root(tmp_path, encoder):
    """A set whose captions' vectors are the tiny model's."""
    return write_clip_retrieval(tmp_path / "set", {0: 40, 1: 5}, encode=encoder.encode_texts)


def call(tmp_path, *arguments):
    command = ["import", *map(str, arguments), "--corpus", "c", "--db", str(tmp_path / "db")]
    return CliRunner().invoke(group, command, catch_exceptions=False)


def test_the_named_model_is_checked_on_captions_and_recorded(tmp_path, root, tiny_model, encoder):
    result = call(tmp_path, root, "--model", tiny_model, "--json")
    assert "checked on captions, median cosine 1.0" in result.stderr
    answer = json.loads(result.stdout)
    assert (answer["rows"], answer["failures"], answer["parts"]) == (45, 0, 2)
    assert Corpus.open(tmp_path / "db", "c").space == encoder.space


def test_another_models_vectors_are_refused(tmp_path, root):
    other = make_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(BadInput, match=r"text_emb_0\.npy holds no vectors of .*other: .* a median cosine of"):
        call(tmp_path, root, "--model", f"local-dir:{other}")
    assert not (tmp_path / "db" / "c.lance").exists()


def test_captions_shifted_against_their_vectors_are_refused(tmp_path, root, tiny_model):
    shifted = np.roll(captions_of(0, 40), 1).tolist()
    with_columns(root / "metadata" / "metadata_0.parquet", caption=shifted)
    with pytest.raises(BadInput, match="holds no vectors of"):
        call(tmp_path, root, "--model", tiny_model)


def test_the_same_command_again_imports_nothing_and_new_parts_are_added(tmp_path, root, tiny_model, encoder):
    call(tmp_path, root, "--model", tiny_model)
    assert "all 2 parts are in corpus 'c' already" in call(tmp_path, root).stderr
    write_clip_retrieval(root, {2: 3}, encode=encoder.encode_texts)
    result = call(tmp_path, root)
    assert "1 to import" in result.stderr and "2 done before" in result.stderr
    assert re.search("3 pairs: 3 rows and 0 failures", result.stdout)
    assert len(Corpus.open(tmp_path / "db", "c")) == 48


def test_a_model_by_name_alone_loads_nothing_and_says_so_when_asked(tmp_path, root, tiny_model):
    result = call(tmp_path, root, "--model", tiny_model, "--unverified")
    assert "by name only, unverified" in result.stderr
    space = Corpus.open(tmp_path / "db", "c").space
    assert not space.is_verified
    with pytest.warns(Caution, match="imported as those of local-dir:.*, by name: .* cannot be checked"):
        encoder = Encoder.for_space(space)
    assert encoder.space == space
    query = ["count", "c", "a photo of thing 1", "--threshold", "-1", "--db", str(tmp_path / "db"), "--json"]
    with pytest.warns(Caution, match="by name"):
        result = CliRunner().invoke(group, query, catch_exceptions=False)
    assert result.exit_code == 0
    # Continued without a name: the corpus's own, and no model is loaded.
    write_clip_retrieval(root, {2: 3})
    assert "by name only" in call(tmp_path, root).stderr


def test_a_model_of_another_dimension_is_never_asked(tmp_path, tiny_model):
    root = write_clip_retrieval(tmp_path / "wide", {0: 4}, dimension=48)
    with pytest.raises(BadInput, match="vectors of 48 dimensions, and local-dir:.* makes 32"):
        call(tmp_path, root, "--model", tiny_model)
    with pytest.raises(BadInput, match="vectors of 48 dimensions, and local-dir:.* makes 32"):
        call(tmp_path, root, "--model", tiny_model, "--unverified")
    with pytest.raises(SpaceMismatch):
        Encoder.for_space(Space.by_name(tiny_model, None, 48))


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (["ViT-B-32", "--pretrained", "openai"], "belong to ViT-B-32-quickgelu: pass --model ViT-B-32-quickgelu"),
        (["ViT-B-32-quickgelu", "--pretrained", "openai"], "vectors of 32 dimensions, and .* makes 512"),
        (["ViT-B-23", "--pretrained", "openai"], "did you mean"),
        (["ViT-L/14"], "pass --pretrained, one of"),
    ],
)
def test_a_name_that_could_not_be_asked_later_is_refused(tmp_path, root, named, message):
    with pytest.raises(TailwagError, match=message):
        call(tmp_path, root, "--unverified", "--model", *named)


def test_a_set_of_images_alone_needs_its_captions_encoded(tmp_path, tiny_model, encoder):
    root = write_clip_retrieval(tmp_path / "set", {0: 4}, text=False)
    with pytest.raises(BadInput, match="no vectors of captions, and a corpus needs both sides: pass --encode-captions"):
        call(tmp_path, root, "--model", tiny_model)
    with pytest.raises(BadInput, match="loads the model: leave --unverified out"):
        call(tmp_path, root, "--model", tiny_model, "--unverified", "--encode-captions")
    call(tmp_path, root, "--model", tiny_model, "--encode-captions")
    corpus = Corpus.open(tmp_path / "db", "c")
    text = np.concatenate([block.vectors for block in corpus.scan("text")])
    np.testing.assert_allclose(text, encoder.encode_texts(captions_of(0, 4)), atol=1e-3)


def test_what_a_command_lacks_is_said(tmp_path, root):
    with pytest.raises(BadInput, match="nothing in the files says which model made them: pass --model"):
        call(tmp_path, root)
    with pytest.raises(NotFound, match="or pass --unverified to record the model by its name alone"):
        call(tmp_path, root, "--model", f"local-dir:{tmp_path}/nowhere")


def test_a_set_without_captions_is_recorded_by_name(tmp_path, tiny_model):
    root = write_clip_retrieval(tmp_path / "set", {0: 4})
    with_columns(root / "metadata" / "metadata_0.parquet", caption=None)
    assert "there are no captions to check it by" in call(tmp_path, root, "--model", tiny_model).stderr
    assert not Corpus.open(tmp_path / "db", "c").space.is_verified


def test_a_dry_run_checks_and_writes_nothing(tmp_path, root, tiny_model):
    result = call(tmp_path, root, "--model", tiny_model, "--dry-run")
    assert "pairs    45 of 32 dimensions" in result.stderr and result.stdout == ""
    assert not (tmp_path / "db").exists()


def test_failures_are_told_by_reason(tmp_path, root, tiny_model, encoder):
    bad = vectors_of(0, "image", 40)
    bad[3] = 0
    np.save(root / "img_emb" / "img_emb_0.npy", bad)
    result = call(tmp_path, root, "--model", tiny_model)
    assert "45 pairs: 44 rows and 1 failures" in result.stdout and "1  embedding zero" in result.stdout


def test_what_asks_for_pictures_says_that_there_are_none(tmp_path, root, tiny_model):
    vectors = vectors_of(1, "image", 5)
    vectors[0] = 0
    np.save(root / "img_emb" / "img_emb_1.npy", vectors)
    call(tmp_path, root, "--model", tiny_model)
    (picture,) = read_pictures(Corpus.open(tmp_path / "db", "c"), ["set/0/000000003"])
    assert picture.data is None and re.search(r"were imported from .*metadata_0\.parquet, without", picture.missing)
    with pytest.raises(BadInput, match="part 'set/1' was imported .* nothing but other files would mend its failures"):
        plan_retry([], tmp_path / "db", "c")


def test_a_database_on_an_object_store_holds_the_same_rows(tmp_path, root, tiny_model, object_store, monkeypatch):
    for name, value in object_store.environment().items():
        monkeypatch.setenv(name, value)
    database = f"s3://{object_store.new_bucket()}/db"
    command = ["import", str(root), "--model", tiny_model, "--corpus", "c", "--db"]
    for where in (database, str(tmp_path / "db")):
        CliRunner().invoke(group, [*command, where], catch_exceptions=False)
    tables = [Corpus.open(where, "c")._dataset.to_table() for where in (database, tmp_path / "db")]
    assert tables[0] == tables[1] and len(tables[0]) == 45
