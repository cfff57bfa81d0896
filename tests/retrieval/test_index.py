"""An index finds what an exact search finds, and is refused as soon as it does not belong to the corpus."""

from __future__ import annotations

import json
import multiprocessing
import shutil

import faiss
import numpy as np
import pytest

from tailwag.embed.corpus import Corpus
from tailwag.embed.database import Database
from tailwag.embed.locking import only_writer
from tailwag.errors import BadInput, NotFound, SpaceMismatch, StaleIndex, TailwagError
from tailwag.retrieval import index as index_module
from tailwag.retrieval.index import build_index, describe_indices, open_index
from tailwag.retrieval.index_manifest import index_folder
from tailwag.retrieval.search import search

from ..corpora import clustered_unit, make_corpus, make_prototypes, make_space, random_unit, rows_table

ROWS = clustered_unit(3000, 32, spread=0.3)
QUERIES = np.concatenate([ROWS[:3], clustered_unit(3, 32, seed=5)])


@pytest.fixture
def corpus(tmp_path) -> Corpus:
    return make_corpus(tmp_path / "db", ROWS)


def offsets(result):
    return [[hit.offset for hit in found.hits] for found in result.queries]


@pytest.mark.parametrize("kind", ["flat", "ivf-flat", "ivf-pq"])
def test_with_all_lists_it_finds_the_exact_rows_and_similarities(corpus, kind):
    build_index(corpus, kind=kind, device="cpu")
    index = open_index(corpus, device="cpu")
    prototypes = make_prototypes(QUERIES)
    found = search(corpus, prototypes, 10, index=index, nprobe=index.plan.nlist or None)
    exact = search(corpus, prototypes, 10)
    assert offsets(found) == offsets(exact)
    assert [f.hits for f in found.queries] == [e.hits for e in exact.queries]
    assert not found.exact and index.plan.title in found.method and exact.exact


@pytest.mark.parametrize("kind", ["ivf-flat", "ivf-pq"])
def test_with_a_few_lists_most_are_found_and_the_answer_says_how_many_to_expect(corpus, kind):
    manifest = build_index(corpus, kind=kind, device="cpu")
    assert 0.8 <= manifest.recall <= 1 and manifest.recall_queries == 32
    index = open_index(corpus, device="cpu")
    result = search(corpus, make_prototypes(QUERIES), 10, index=index)
    exact = offsets(search(corpus, make_prototypes(QUERIES), 10))
    found = [len(set(own) & set(true)) for own, true in zip(offsets(result), exact, strict=True)]
    assert np.mean(found) >= 8
    assert f"nprobe {index.plan.nprobe} of {index.plan.nlist}" in result.method
    assert f"recall@20 {manifest.recall:.3f}" in result.method
    assert "recall" not in search(corpus, make_prototypes(QUERIES), 10, index=index, nprobe=1).method


def test_measured_recall_is_one_where_everything_is_looked_into(corpus):
    assert build_index(corpus, device="cpu").recall == 1.0


def test_more_rows_than_there_are(corpus):
    build_index(corpus, device="cpu")
    index = open_index(corpus, device="cpu")
    assert offsets(search(corpus, make_prototypes(QUERIES[:1]), 5000, index=index)) == offsets(
        search(corpus, make_prototypes(QUERIES[:1]), 5000)
    )


def test_each_side_has_its_own_index(tmp_path):
    corpus = make_corpus(tmp_path, ROWS, ROWS[::-1])
    build_index(corpus, "text", device="cpu")
    with pytest.raises(NotFound, match="has no image index: run `tailwag index build made`"):
        open_index(corpus)
    result = search(corpus, make_prototypes(ROWS[:1]), 1, "text", open_index(corpus, "text", device="cpu"))
    assert offsets(result) == [[2999]]
    with pytest.raises(BadInput, match="open its own index"):
        search(corpus, make_prototypes(ROWS[:1]), 1, "image", open_index(corpus, "text", device="cpu"))


def test_an_index_is_no_table_and_no_corpus(corpus):
    build_index(corpus, device="cpu")
    assert Database(corpus.database.uri).tables() == ["made"]
    import lancedb

    assert lancedb.connect(corpus.database.uri).list_tables().tables == ["made"]


def test_a_stale_index_is_refused_and_building_again_mends_it(corpus):
    build_index(corpus, device="cpu")
    old = corpus.version
    corpus.append(rows_table(corpus.space, random_unit(2, 32), prefix="new/"))
    with pytest.raises(StaleIndex) as error:
        open_index(corpus)
    assert str(error.value) == (
        f"the image index of 'made' was built for version {old}, the corpus is at version {corpus.version}: "
        "run `tailwag index build made`, or pass --exact"
    )
    assert [found.current for found in describe_indices(corpus)] == [False]
    open_index(Corpus.open(corpus.database, "made", version=old), device="cpu")
    build_index(corpus, device="cpu")
    assert open_index(corpus, device="cpu").plan.rows == 3002
    assert len(list(index_folder(corpus, "image").glob("*.faiss"))) == 1


def test_a_corpus_made_anew_does_not_get_the_old_ones_index(corpus):
    build_index(corpus, device="cpu")
    shutil.rmtree(corpus.database.table_uri("made"))
    anew = Corpus.create(corpus.database, "made", corpus.space)
    anew.append(rows_table(anew.space, ROWS, prefix="other/"))
    assert anew.version == corpus.version
    with pytest.raises(StaleIndex, match="built for other rows"):
        open_index(anew)


def test_an_index_of_another_space_is_refused(corpus):
    build_index(corpus, device="cpu")
    shutil.rmtree(corpus.database.table_uri("made"))
    other = make_corpus(corpus.database.folder, ROWS, space=make_space(32, weights="others"))
    with pytest.raises(SpaceMismatch, match="its image index was built from .* differ in weights"):
        open_index(other)


def damage_cut(folder, manifest):
    with (folder / manifest.file).open("r+b") as file:
        file.truncate(100)


def damage_flip(folder, manifest):
    with (folder / manifest.file).open("r+b") as file:
        file.seek(2000)
        byte = file.read(1)
        file.seek(2000)
        file.write(bytes([byte[0] ^ 255]))


def damage_remove(folder, manifest):
    (folder / manifest.file).unlink()


def damage_manifest(folder, manifest):
    (folder / "manifest.json").write_text('{"format": "1"')


def damage_fields(folder, manifest):
    (folder / "manifest.json").write_text('{"format": "1", "corpus": "made"}')


def damage_format(folder, manifest):
    values = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**values, "format": "99"}))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (damage_cut, "is damaged"),
        (damage_flip, "is damaged"),
        (damage_remove, "cannot be read"),
        (damage_manifest, "cannot be read"),
        (damage_fields, "cannot be read"),
        (damage_format, "has format 99, this tailwag reads 1"),
    ],
)
def test_a_damaged_index_is_one_line(corpus, damage, says):
    manifest = build_index(corpus, device="cpu")
    damage(index_folder(corpus, "image"), manifest)
    with pytest.raises(TailwagError, match=says) as error:
        open_index(corpus)
    assert "\n" not in str(error.value) and "--exact" in str(error.value)
    [described] = describe_indices(corpus)
    assert described.problem == str(error.value) and not described.current


@pytest.mark.parametrize("step", ["_filled", "_check_written", "witnesses"])
def test_an_interrupted_build_leaves_the_old_index(corpus, monkeypatch, step):
    old = build_index(corpus, device="cpu")
    corpus.append(rows_table(corpus.space, random_unit(2, 32), prefix="new/"))

    def stops(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(index_module, step, stops)
        with pytest.raises(KeyboardInterrupt):
            build_index(corpus, device="cpu")
    before = Corpus.open(corpus.database, "made", version=old.version)
    assert open_index(before, device="cpu").manifest == old
    assert not (index_folder(corpus, "image") / ".building").exists()
    build_index(corpus, device="cpu")
    assert open_index(corpus, device="cpu").plan.rows == 3002


def test_a_second_build_at_the_same_time_is_refused(corpus):
    with (
        only_writer(index_folder(corpus, "image") / ".lock", ""),
        pytest.raises(TailwagError, match="another build of the index"),
    ):
        build_index(corpus, device="cpu")


def test_progress_is_told_every_row_that_is_read(corpus):
    class Counted:
        rows = 0

        def advance(self, amount=1):
            self.rows += amount

    for kind in ("flat", "ivf-flat"):
        counted = Counted()
        manifest = build_index(corpus, kind=kind, progress=counted, device="cpu")
        assert counted.rows == manifest.plan.rows_read


def test_the_training_sample_is_evenly_spaced(corpus):
    plan = index_module.plan_index(3000, 32, "ivf-flat")
    plan = index_module.replace(plan, training_rows=700)
    sample = index_module._training_sample(plan, corpus, "image", index_module.NoProgress())
    assert np.array_equal(sample, ROWS[::5].astype(np.float32))


def test_what_cannot_be_built_is_refused(tmp_path):
    empty = make_corpus(tmp_path, ROWS[:0], name="empty")
    with pytest.raises(BadInput, match="no rows"):
        build_index(empty)
    few = make_corpus(tmp_path, ROWS[:10], name="few")
    with pytest.raises(BadInput, match="at least 256 rows"):
        build_index(few, kind="ivf-pq")
    with pytest.raises(BadInput, match="no device 'tpu'"):
        build_index(few, device="tpu")
    build_index(few, device="cpu")
    with pytest.raises(BadInput, match="leave out --nprobe"):
        search(few, make_prototypes(ROWS[:1]), 1, index=open_index(few, device="cpu"), nprobe=3)
    build_index(few, kind="ivf-flat", device="cpu")
    with pytest.raises(BadInput, match="at least one of the index's"):
        search(few, make_prototypes(ROWS[:1]), 1, index=open_index(few, device="cpu"), nprobe=0)


def test_an_index_needs_a_database_on_this_machine(corpus):
    corpus.database.uri = "s3://bucket/db"
    with pytest.raises(BadInput, match="object store"):
        build_index(corpus)
    assert describe_indices(corpus) == []


def _build_beside_torch(folder) -> None:
    import torch

    torch.mm(torch.ones(300, 300), torch.ones(300, 300))
    corpus = Corpus.open(folder, "made")
    assert build_index(corpus, kind="ivf-flat", device="cpu").recall > 0.5
    torch.mm(torch.ones(300, 300), torch.ones(300, 300))


def test_it_works_in_a_process_that_has_imported_torch(corpus):
    """Both bring an OpenMP runtime: a clash would end the process."""
    process = multiprocessing.get_context("spawn").Process(target=_build_beside_torch, args=(corpus.database.uri,))
    process.start()
    process.join(120)
    assert process.exitcode == 0


@pytest.mark.gpu
@pytest.mark.skipif(faiss.get_num_gpus() == 0, reason="FAISS finds no GPU")
@pytest.mark.parametrize("kind", ["flat", "ivf-flat", "ivf-pq"])
def test_a_gpu_builds_and_searches_as_the_cpu_does(corpus, kind):
    build_index(corpus, kind=kind, device="cuda")
    prototypes = make_prototypes(QUERIES)
    exact = offsets(search(corpus, prototypes, 10))
    for device in ("cuda", "cpu"):
        index = open_index(corpus, device=device)
        assert index.on_gpu == (device == "cuda")
        assert offsets(search(corpus, prototypes, 10, index=index, nprobe=index.plan.nlist or None)) == exact
