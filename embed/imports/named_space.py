"""Which embedding space released vectors are of: their files do not say, so the model is named, and checked.

The check encodes some captions with the named model and compares them with the stored vectors. Not here: the identity
itself (`../space.py`).
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailwag.errors import BadInput, NotFound

from ..corpus import Corpus
from ..models import check_name
from ..space import Space
from .columns import Columns
from .job import ImportPlan
from .normalising import LEAST_LENGTH, normalise
from .part_rows import EncodeCaptions
from .parts import Part

CHECKED_CAPTIONS = 32
# The same model in float16 on a GPU and in float32 here gives 0.999 and more, other weights about 0.
LEAST_COSINE = 0.99


def check_captions(part: Part, encoder: Any) -> float:
    """Encode a part's first captions, and compare them with their stored vectors.

    Parameters
    ----------
    part
        A part with vectors of captions.
    encoder
        An `Encoder` of the named model.

    Returns
    -------
    float
        The median cosine of at most `CHECKED_CAPTIONS` captions; nan when there is none that is not empty.

    Raises
    ------
    BadInput
        When it is below `LEAST_COSINE`: the vectors are another model's, or captions and vectors are shifted.
    """
    assert part.text is not None
    with closing(Columns(part.metadata)) as columns:
        said = next(columns.blocks(16 * CHECKED_CAPTIONS), None)
    if said is None:
        return float("nan")
    captions = said["caption"].to_pylist()
    with part.text.reader() as read:
        stored, lengths = normalise(read(len(captions)))
    fine = np.isfinite(lengths) & (lengths >= LEAST_LENGTH)
    chosen = [row for row in range(len(captions)) if fine[row] and isinstance(captions[row], str) and captions[row]]
    chosen = chosen[:CHECKED_CAPTIONS]
    if not chosen:
        return float("nan")
    made = encoder.encode_texts([captions[row] for row in chosen])
    cosines = np.einsum("ij,ij->i", made.astype(np.float32), stored[chosen].astype(np.float32))
    median = float(np.median(cosines))
    if not median >= LEAST_COSINE:
        raise BadInput(
            f"{part.text.title} holds no vectors of {encoder.space.title}: its captions, encoded anew, have a median "
            f"cosine of {median:.3f} with them, not {LEAST_COSINE} or more; name the model that made them"
        )
    return median


@dataclass(frozen=True)
class NamedSpace:
    """The space that vectors are recorded in.

    Attributes
    ----------
    space
        The space.
    said
        What speaks for it, for people.
    encode_captions
        Makes captions' vectors in it, where the set has none; None where it has.
    """

    space: Space
    said: str
    encode_captions: EncodeCaptions | None = None


def find_space(
    plan: ImportPlan,
    model: str | None,
    pretrained: str | None,
    *,
    unverified: bool = False,
    encode_captions: bool = False,
    device: str | None = None,
) -> NamedSpace:
    """Find the space of a plan's vectors by the model's name, and check it on captions where that is asked.

    Parameters
    ----------
    plan
        What is to be imported; has at least one part.
    model, pretrained
        The model that made the vectors; None for the corpus's own.
    unverified
        Record the name and load nothing.
    encode_captions
        The set has no vectors of captions: make them.
    device
        Where the model runs; None takes a GPU where one is found.

    Raises
    ------
    BadInput
        When no model is named, the captions say that another made the vectors, or the two wishes contradict.
    NotFound
        When the model cannot be loaded.
    """
    existing = Corpus.open(plan.database, plan.corpus).space if plan.database.has_table(plan.corpus) else None
    if model is None:
        if existing is None:
            raise BadInput(
                f"nothing in the files says which model made them: pass --model, for example {_example(plan)}"
            )
        model, pretrained = existing.model, pretrained or existing.pretrained or None
        unverified = unverified or not existing.is_verified
    if plan.has_text and encode_captions:
        raise BadInput("the set has vectors of captions already: leave --encode-captions out")
    if not plan.has_text and not encode_captions:
        raise BadInput(
            "the set has no vectors of captions, and a corpus needs both sides: pass --encode-captions to make them "
            "with the model"
        )
    if unverified:
        if encode_captions:
            raise BadInput("--encode-captions loads the model: leave --unverified out")
        dimension = check_name(model, pretrained)
        if dimension not in (None, plan.dimension):
            raise BadInput(_other_dimension(plan, Space.by_name(model, pretrained, dimension).title, dimension))
        return NamedSpace(Space.by_name(model, pretrained, plan.dimension), "by name only, unverified")
    from ..encoder import Encoder

    try:
        encoder = Encoder.load(model, pretrained, device)
    except NotFound as error:
        if encode_captions:
            raise
        raise NotFound(f"{error}; or pass --unverified to record the model by its name alone") from error
    if encoder.space.dimension != plan.dimension:
        raise BadInput(_other_dimension(plan, encoder.space.title, encoder.space.dimension))
    if encode_captions:
        return NamedSpace(encoder.space, "captions are encoded by it, images by name", encoder.encode_texts)
    cosine = check_captions(plan.parts[0], encoder)
    if np.isnan(cosine):
        by_name = Space.by_name(model, pretrained, plan.dimension)
        return NamedSpace(by_name, "by name only: there are no captions to check it by")
    return NamedSpace(encoder.space, f"checked on captions, median cosine {cosine:.4f}")


def _other_dimension(plan: ImportPlan, title: str, dimension: int) -> str:
    return (
        f"{plan.parts[0].image.title} holds vectors of {plan.dimension} dimensions, and {title} makes {dimension}: "
        "name the model that made them"
    )


def _example(plan: ImportPlan) -> str:
    model = "ViT-L-14-quickgelu" if plan.dimension == 768 else "ViT-B-32-quickgelu"
    return f"--model {model} --pretrained openai"
