"""Prototypes from texts and pictures, and what a set of them refuses. With a real model, tiny and untrained."""

import numpy as np
import pytest
from PIL import Image

from tailwag.embed.encoder import Encoder
from tailwag.errors import BadInput, NotFound
from tailwag.retrieval.concepts import Concept, ConceptSet, texts_for
from tailwag.retrieval.prototypes import (
    PrototypeSet,
    mean_direction,
    prototypes_from_examples,
    prototypes_from_images,
    prototypes_from_texts,
)
from tests.corpora import make_prototypes, make_space, random_unit


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder.load(tiny_model, device="cpu")


def picture(path, colour):
    Image.new("RGB", (40, 30), colour).save(path)
    return path


def test_a_prototype_is_the_normalised_mean_over_templates_and_synonyms(encoder):
    concepts = ConceptSet(
        "pets", (Concept("dog", ("hound",)), Concept("cat", templates=("a cat: {}",))), ("a {}", "the {}")
    )
    made = prototypes_from_texts(concepts, encoder)
    vectors = encoder.encode_texts(texts_for(concepts.concepts[0], ("a {}", "the {}"))).astype(np.float64)
    mean = vectors.mean(axis=0)
    assert len(vectors) == 4
    np.testing.assert_array_equal(made.vectors[0], (mean / np.linalg.norm(mean)).astype(np.float16))
    np.testing.assert_array_equal(made.vectors[1], encoder.encode_texts(["a cat: cat"])[0])
    assert made.names == ("dog", "cat")
    assert made.recipes == ('mean of 4 texts, "a dog" first', 'text "a cat: cat"')
    assert made.space == encoder.space


def test_a_concept_comes_out_the_same_alone_and_among_many(encoder):
    many = ConceptSet("many", tuple(Concept(f"thing {number}") for number in range(40)), "simple-imagenet")
    alone = PrototypeSet.of_texts(many.select(["thing 33"]), encoder)
    among = PrototypeSet.of_texts(many, encoder)
    # The last float32 bits of a forward pass depend on the batch, so one float16 step is allowed.
    np.testing.assert_allclose(alone.vectors[0], among.vectors[33], atol=2**-11)
    assert among.recipes[33] == 'mean of 7 texts (simple-imagenet), "itap of a thing 33." first'


def test_example_pictures_make_a_prototype(encoder, tmp_path):
    paths = [picture(tmp_path / "red.png", "red"), picture(tmp_path / "blue.jpg", "blue")]
    made = prototypes_from_images("colours", paths, encoder)
    each = encoder.encode_images([Image.open(path) for path in paths])
    np.testing.assert_array_equal(made.vectors[0], mean_direction(each, "colours"))
    assert made.recipes == ("mean of 2 example images",)
    assert prototypes_from_images("one", paths[:1], encoder).recipes == ("1 example image",)


def test_a_set_can_be_made_of_the_examples_its_file_names(encoder, tmp_path):
    red = picture(tmp_path / "red.png", "red")
    made = prototypes_from_examples(ConceptSet("set", (Concept("red", images=(red,)),)), encoder)
    np.testing.assert_array_equal(made.vectors, prototypes_from_images("red", [red], encoder).vectors)
    with pytest.raises(BadInput, match="1 of the 2 concepts of 'set' name no example images, 'blue' first"):
        prototypes_from_examples(ConceptSet("set", (Concept("red", images=(red,)), Concept("blue"))), encoder)


def test_an_unreadable_picture_is_refused_in_one_line(encoder, tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("this is no picture")
    half = picture(tmp_path / "half.jpg", "green")
    half.write_bytes(half.read_bytes()[:400])
    for path, reason in ((text, "not an image"), (half, "image")):
        with pytest.raises(BadInput, match=rf"picture .*{path.name} cannot be used \(.*{reason}") as caught:
            prototypes_from_images("x", [path], encoder)
        assert "\n" not in str(caught.value)
    with pytest.raises(NotFound, match=r"there is no picture .*none\.jpg"):
        prototypes_from_images("x", [tmp_path / "none.jpg"], encoder)


def test_vectors_without_a_common_direction_are_refused():
    one = random_unit(1, 8)
    with pytest.raises(BadInput, match="no common direction"):
        mean_direction(np.concatenate([one, -one]), "contradiction")
    with pytest.raises(BadInput, match="no text and no picture"):
        mean_direction(one[:0], "nothing")


def test_a_set_refuses_vectors_that_counting_cannot_rest_on():
    vectors = random_unit(2, 8)
    space, names, recipes = make_space(8), ("a", "b"), ("made", "made")
    for value in (np.nan, np.inf, 1.0):
        spoilt = vectors.copy()
        spoilt[1] = value
        with pytest.raises(BadInput, match="the prototype of 'b' is not finite or longer than"):
            PrototypeSet(names, spoilt, space, recipes)
    with pytest.raises(BadInput, match="concept 'a' has two prototypes"):
        PrototypeSet(("a", "a"), vectors, space, recipes)
    with pytest.raises(BadInput, match="need vectors of shape"):
        PrototypeSet(names, vectors[:, :4], space, recipes)
    with pytest.raises(BadInput, match="at least one concept"):
        PrototypeSet((), vectors[:0], space, ())


def test_a_set_cannot_be_changed_from_outside():
    mine = random_unit(2, 8)
    made = PrototypeSet(("a", "b"), mine, make_space(8), ("made", "made"))
    mine[:] = 0
    assert np.abs(made.vectors).sum() > 0
    with pytest.raises(ValueError, match="read-only"):
        made.vectors[0] = 0


def test_saved_prototypes_come_back_bit_for_bit(tmp_path):
    made = make_prototypes(random_unit(5, 16))
    made.save(tmp_path / "prototypes.parquet")
    back = PrototypeSet.load(tmp_path / "prototypes.parquet")
    assert (back.names, back.recipes, back.space) == (made.names, made.recipes, made.space)
    np.testing.assert_array_equal(back.vectors.view(np.uint16), made.vectors.view(np.uint16))
    assert [path.name for path in tmp_path.iterdir()] == ["prototypes.parquet"]


def test_a_file_that_holds_no_prototypes_is_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pytest.raises(NotFound, match="no file of prototypes"):
        PrototypeSet.load(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(BadInput, match="is not a parquet file"):
        PrototypeSet.load(tmp_path / "text.parquet")
    pq.write_table(pa.table({"name": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(BadInput, match="is no file of prototypes"):
        PrototypeSet.load(tmp_path / "other.parquet")


def test_prototypes_can_be_selected():
    made = make_prototypes(random_unit(3, 8))
    np.testing.assert_array_equal(made.select(["query 2", "query 0"]).vectors, made.vectors[[2, 0]])
    with pytest.raises(NotFound, match="no prototype of 'query 9'"):
        made.select(["query 9"])
