"""Zero-shot accuracy, on made vectors by hand and on real photographs as the model's own description gives it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tailwag.benchmarks.zero_shot import zero_shot_accuracy
from tailwag.embed.corpus import Corpus
from tailwag.embed.encoder import Encoder
from tailwag.embed.job import plan_embedding, run_embedding
from tailwag.errors import BadInput, SpaceMismatch
from tailwag.retrieval.concepts import Concept, ConceptSet
from tailwag.retrieval.prototypes import PrototypeSet, prototypes_from_texts

from ..embed.test_corpus import SPACE, table, unit_rows


def labelled(tmp_path, labels):
    corpus = Corpus.create(tmp_path / "db", "made", SPACE)
    rows = table(np.eye(16, dtype=np.float16)[[0, 0, 1, 2][: len(labels)]])
    position = rows.schema.get_field_index("label")
    corpus.append(rows.set_column(position, rows.schema.field("label"), pa.array(labels, pa.string())))
    return corpus


def prototypes(*names):
    return PrototypeSet(names, np.eye(16, dtype=np.float16)[: len(names)], SPACE, ("made",) * len(names))


def test_accuracy_by_hand(tmp_path):
    found = zero_shot_accuracy(labelled(tmp_path, ["a", "b", "b", None]), prototypes("a", "b", "c"))
    assert (found.images, found.top1, found.mean_per_class) == (3, pytest.approx(2 / 3), pytest.approx(0.75))


def test_labels_without_a_prototype_and_no_labels_are_refused(tmp_path):
    with pytest.raises(BadInput, match="1 labels of corpus 'made' have no prototype, 'z' first"):
        zero_shot_accuracy(labelled(tmp_path / "1", ["a", "z", "b", "b"]), prototypes("a", "b"))
    with pytest.raises(BadInput, match="has no labels"):
        zero_shot_accuracy(labelled(tmp_path / "2", [None] * 4), prototypes("a", "b"))


def test_prototypes_of_another_space_are_refused(tmp_path):
    from dataclasses import replace

    other = PrototypeSet(("a",), unit_rows(1), replace(SPACE, weights="x"), ("made",))
    with pytest.raises(SpaceMismatch):
        zero_shot_accuracy(labelled(tmp_path, ["a", "a", "a", "a"]), other)


@pytest.mark.photos
def test_caltech101_comes_out_as_the_models_description_says(tmp_path, data):
    encoder = Encoder.load(f"local-dir:{data / 'models' / 'mini'}")
    source = str(data / "data" / "photos" / "caltech101")
    report = run_embedding(plan_embedding([source], tmp_path / "db", "caltech"), encoder)
    assert (report.rows, report.failures) == (1126, 0)
    corpus = Corpus.open(tmp_path / "db", "caltech")
    names = sorted(set(corpus.column("label").to_pylist()))
    concepts = ConceptSet("caltech101", tuple(Concept(name) for name in names))
    found = zero_shot_accuracy(corpus, prototypes_from_texts(concepts, encoder))
    assert len(names) == 100
    assert found.top1 == pytest.approx(0.916, abs=0.005)
    assert found.mean_per_class == pytest.approx(0.883, abs=0.005)
