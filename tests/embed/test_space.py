"""Two spaces are one when their vectors can be compared, whatever the names."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from tailwag.embed.space import Space
from tailwag.errors import BadInput, SpaceMismatch

SPACE = Space("ViT-B-32", "openai", "aa", "bb", "{}", "SimpleTokenizer", 512)


def test_a_space_survives_json():
    assert Space.from_json(SPACE.to_json()) == SPACE


@pytest.mark.parametrize("name", ["model", "pretrained"])
def test_names_are_not_part_of_the_identity(name):
    other = replace(SPACE, **{name: "another"})
    assert other.fingerprint == SPACE.fingerprint
    SPACE.require_same(other, here="", there="", remedy="")


@pytest.mark.parametrize("name", [field.name for field in fields(Space) if field.name not in ("model", "pretrained")])
def test_everything_else_is(name):
    other = replace(SPACE, **{name: 1 if name == "dimension" else "another"})
    assert other.fingerprint != SPACE.fingerprint
    with pytest.raises(SpaceMismatch, match=f"corpus 'x' holds .* they differ in {name}: pass --model"):
        SPACE.require_same(other, here="corpus 'x' holds", there="the query uses", remedy="pass --model")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": "x"}', "null"])
def test_what_is_no_space_is_refused(text):
    with pytest.raises(BadInput, match="not the record of an embedding space"):
        Space.from_json(text)
