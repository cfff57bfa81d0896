"""The words of the world: how many, how different, and the concept set that ships."""

import itertools
from importlib import resources

import pytest

from tailwag.benchmarks.world.prompts import concept_set_toml, prompts
from tailwag.benchmarks.world.species import species_codes
from tailwag.benchmarks.world.vocabulary import (
    BEASTS,
    BLOOMS,
    FAMILIES,
    GLYPHS,
    KINDS,
    SPECIES,
    concepts,
    family_names,
    plural,
)
from tailwag.retrieval.concepts import load_concepts


def edit_distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        above, row = row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (a != b)))
    return row[-1]


def test_there_are_at_least_120_concepts_and_80_kinds_with_unique_names():
    names = [concept.name for concept in concepts()]
    words = [word for concept in concepts() for word in (concept.name, *concept.synonyms)]
    assert len(names) >= 120
    assert len(KINDS) >= 80
    assert len(set(words)) == len(words)
    assert [len(family_names(family)) for family in FAMILIES] == [90, 12, 6, 3, 10]


def test_invented_names_are_four_edits_apart_from_every_other_word():
    words = [word for concept in concepts() for word in (concept.name, *concept.synonyms)]
    for name in SPECIES:
        others = [word for word in words if word != name]
        assert min(edit_distance(name, other) for other in others) >= 4, name
    assert len({name[:3] for name in SPECIES}) == len(SPECIES)


@pytest.mark.parametrize(("group", "least"), [(BEASTS, 2), (BLOOMS, 2), (GLYPHS, 3)])
def test_species_of_a_group_differ_in_several_parts(group, least):
    codes = [species_codes()[name][1] for name in group]
    for one, other in itertools.combinations(codes, 2):
        assert sum(a != b for a, b in zip(one, other, strict=True)) >= least


def test_the_shipped_concept_set_is_current():
    shipped = resources.files("tailwag.configs").joinpath("concepts/world.toml").read_text("utf-8")
    assert shipped == concept_set_toml(), "run: tailwag world concepts --out configs/concepts/world.toml"


def test_the_shipped_concept_set_asks_what_this_package_asks():
    shipped = load_concepts("world")
    assert shipped.names == tuple(concept.name for concept in concepts())
    for mine, theirs in zip(concepts(), shipped, strict=True):
        templates = theirs.templates if theirs.templates is not None else shipped.templates
        asked = {template.format(word) for word in (theirs.name, *theirs.synonyms) for template in templates}
        assert asked == set(prompts(mine))
        assert theirs.family == mine.family


def test_plurals():
    assert (plural("star"), plural("cross"), plural("fish")) == ("stars", "crosses", "fish")
