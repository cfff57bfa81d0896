"""Concept sets: what ships, what people write, and every mistake in it."""

import pytest

from tailwag.errors import BadInput, NotFound
from tailwag.retrieval.concepts import (
    Concept,
    ConceptSet,
    fold,
    load_concepts,
    open_templates,
    query_concepts,
    shipped_concepts,
    texts_for,
)


def write(folder, text, name="animals.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


ANIMALS = """
name = "animals"
description = "two of them"
templates = ["a photo of a {}", "a drawing of a {}"]

[[concept]]
name = "red panda"
synonyms = ["firefox", "lesser panda"]
definition = "Ailurus fulgens"
images = ["examples/one.jpg"]
family = "beast"

[[concept]]
name = "quoll"
templates = "plain"
"""


def test_a_file_is_read_with_all_it_says(tmp_path):
    animals = load_concepts(write(tmp_path, ANIMALS))
    assert animals.name == "animals"
    assert animals.names == ("red panda", "quoll")
    assert animals.templates == ("a photo of a {}", "a drawing of a {}")
    panda, quoll = animals
    assert panda == Concept(
        "red panda",
        ("firefox", "lesser panda"),
        None,
        "Ailurus fulgens",
        (tmp_path / "examples/one.jpg",),
        "beast",
    )
    assert quoll.templates == "plain"


def test_a_file_without_a_name_is_called_by_its_stem(tmp_path):
    assert load_concepts(write(tmp_path, '[[concept]]\nname = "dog"\n')).name == "animals"


def test_a_text_file_holds_a_name_a_line(tmp_path):
    path = write(tmp_path, "\ufeffdog\n\n red panda \nété\n", "names.txt")
    assert load_concepts(path).names == ("dog", "red panda", "été")
    with pytest.raises(BadInput, match="names no concept"):
        load_concepts(write(tmp_path, "\n\n", "empty.txt"))


def test_thousands_of_names_load(tmp_path):
    path = write(tmp_path, "\n".join(f"thing {number}" for number in range(4000)), "many.txt")
    assert len(load_concepts(path)) == 4000


@pytest.mark.parametrize(("name", "size"), [("caltech101", 100), ("pascal", 20), ("cifar10", 10)])
def test_sets_that_ship_load_by_name(name, size):
    assert name in shipped_concepts()
    assert len(load_concepts(name)) == size


@pytest.mark.parametrize("name", shipped_concepts())
def test_everything_that_ships_is_free_of_mistakes(name):
    for concept in load_concepts(name):
        assert fold(concept.name) not in [fold(synonym) for synonym in concept.synonyms]


def test_an_unknown_set_names_those_there_are():
    with pytest.raises(NotFound, match=r"no concept set or file 'caltech102'; sets that ship: .*caltech101"):
        load_concepts("caltech102")


def test_all_mistakes_of_a_file_are_told_together(tmp_path):
    text = """
    templates = ["no place for a name"]
    sinonyms = []
    [[concept]]
    name = "hot-air balloon"
    synonim = ["balloon"]
    [[concept]]
    name = "Hot Air_Balloon"
    templates = ["{}", "none"]
    [[concept]]
    name = " "
    [[concept]]
    synonyms = "dog"
    """
    with pytest.raises(BadInput) as caught:
        load_concepts(write(tmp_path, text))
    message = str(caught.value)
    for part in (
        "animals.toml has 8 mistakes:",
        "unknown key 'sinonyms', known are name, description, templates, concept",
        "concept 1 ('hot-air balloon'): unknown key 'synonim', did you mean 'synonyms'?",
        "concept 4: 'name' is missing",
        "concept 4: 'synonyms' must be a list of texts",
        "templates: 'no place for a name' has no {} where the name goes",
        "concept 2, 'Hot Air_Balloon', is the same name as 'hot-air balloon'",
        "templates of 'Hot Air_Balloon': 'none' has no {}",
        "concept 3 has an empty name",
    ):
        assert part in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = = 2", "is not TOML"),
        ("", "it holds no concept"),
        ("concept = 3", "'concept' must be"),
        ('templates = "imagenet"\n[[concept]]\nname = "dog"', "no template set 'imagenet'"),
        ('templates = []\n[[concept]]\nname = "dog"', "the list is empty"),
        ('[[concept]]\nname = "dog"\nsynonyms = [""]', "'dog' has an empty synonym"),
        ("[[concept]]\nname = 3", "'name' must be"),
    ],
)
def test_one_mistake_is_told_in_one_line(tmp_path, text, message):
    with pytest.raises(BadInput, match=message) as caught:
        load_concepts(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_file_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes("été".encode("latin-1"))
    with pytest.raises(BadInput, match="not UTF-8"):
        load_concepts(path)


def test_a_long_list_of_mistakes_is_cut_and_says_so(tmp_path):
    path = write(tmp_path, "\n".join(["dog"] * 40), "same.txt")
    with pytest.raises(BadInput, match=r"has 39 mistakes:(\n.*){20}\n  - and 19 more$"):
        load_concepts(path)


def test_texts_are_every_template_with_every_name_once():
    concept = Concept("red_panda", ("firefox", "red panda"))
    assert texts_for(concept, ["a {}", "the {}"]) == ("a red panda", "the red panda", "a firefox", "the firefox")
    assert texts_for(Concept("50{}%"), ["a {} sign, {}"]) == ("a 50{}% sign, 50{}%",)


def test_what_is_typed_goes_into_the_template_unless_it_is_a_phrase():
    def texts(query, template=None):
        concepts = query_concepts(query, template)
        return texts_for(concepts.concepts[0], open_templates(concepts.templates))

    assert texts("red panda") == ("a photo of a red panda",)
    assert texts("  answer   phone ") == ("a photo of a answer phone",)
    for phrase in ("a dog in the snow", "An owl", "the Eiffel tower", "photo of two dogs", "a photo of a dog"):
        assert texts(phrase) == (phrase,)
    assert texts("a dog", "itap of {}.") == ("itap of a dog.",)
    assert texts("two dogs in the snow", "{}") == ("two dogs in the snow",)
    with pytest.raises(BadInput, match="the concept is empty"):
        query_concepts(" ")
    with pytest.raises(BadInput, match=r"template 'a photo' has no \{\} where the name goes"):
        query_concepts("dog", "a photo")


def test_open_clips_own_templates_are_found_by_name():
    opened = open_templates("openai-imagenet")
    assert len(opened) == 80
    assert opened[0] == "a bad photo of a {}."
    assert len(open_templates("simple-imagenet")) == 7
    with pytest.raises(NotFound, match="no template set 'mine'"):
        open_templates("mine")


def test_concepts_can_be_selected_and_a_near_name_is_suggested():
    concepts = ConceptSet("two", (Concept("dog"), Concept("cat")))
    assert concepts.select(["cat"]).names == ("cat",)
    with pytest.raises(NotFound, match="did you mean 'dog'"):
        concepts.select(["dogg"])


def test_reading_concepts_imports_no_model_library():
    import subprocess
    import sys

    program = (
        "import sys; from tailwag.retrieval.concepts import load_concepts\n"
        "load_concepts('caltech101'); print({'torch', 'open_clip'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
