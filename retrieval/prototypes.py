"""Prototypes: the vectors that stand for concepts in one space, made from texts or from example pictures.

Not here: what a concept is (`concepts.py`), the model that encodes (`embed/encoder.py`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from tailwag.errors import BadInput, NotFound
from tailwag.progress import NoProgress, Progress

from ..embed.space import Space
from .concepts import Concept, ConceptSet, open_templates, texts_for

if TYPE_CHECKING:
    from PIL.Image import Image

# Plain ones are of length 1; centred ones (`centring.py`) have a vocabulary's mean taken off. Thresholds of one kind
# mean nothing for the other.
PrototypeKind = Literal["plain", "centred"]
# A unit vector rounded to float16 may come out a little longer than 1; exact counting rests on no more than this.
MAX_LENGTH = 1.001
# A mean of unit vectors shorter than this has no direction worth the name: the texts contradict each other.
_SHORTEST_MEAN = 1e-3
# Texts that are encoded between two steps of a progress bar, at least.
_TEXTS_A_STEP = 1024
_METADATA_SPACE = b"tailwag:space"


class TextAndImageEncoder(Protocol):
    """What making prototypes needs of an encoder; `tailwag.embed.Encoder` is one."""

    space: Space

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Encode texts as (n, dimension) float16 unit rows."""
        ...

    def encode_images(self, images: Sequence[Image]) -> np.ndarray:
        """Encode pictures as (n, dimension) float16 unit rows."""
        ...


@dataclass(frozen=True, eq=False)
class PrototypeSet:
    """C named vectors of one space.

    Attributes
    ----------
    names
        The concepts' names, all different.
    vectors
        (C, dimension) float16, finite, of length at most `MAX_LENGTH`; read-only.
    space
        The space they live in.
    recipes
        How each was made: ``'text "a photo of a cat"'``, ``'mean of 3 images'``.

    Raises
    ------
    BadInput
        When one of this does not hold; names the concept.
    """

    names: tuple[str, ...]
    vectors: np.ndarray
    space: Space
    recipes: tuple[str, ...]

    def __post_init__(self) -> None:
        names, recipes = tuple(self.names), tuple(self.recipes)
        vectors = np.array(self.vectors, dtype=np.float16, order="C")
        if not names:
            raise BadInput("a prototype set needs at least one concept")
        if vectors.shape != (len(names), self.space.dimension) or len(recipes) != len(names):
            raise BadInput(
                f"{len(names)} concepts of a {self.space.dimension}-dimensional space need vectors of shape "
                f"{(len(names), self.space.dimension)} and as many recipes; got {vectors.shape} and {len(recipes)}"
            )
        seen: set[str] = set()
        for name in names:
            if name in seen:
                raise BadInput(f"concept {name!r} has two prototypes: give each concept one name of its own")
            seen.add(name)
        wide = vectors.astype(np.float64)
        lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        bad = np.flatnonzero(~(lengths <= MAX_LENGTH))  # nan compares as False
        if len(bad):
            raise BadInput(
                f"the prototype of {names[bad[0]]!r} is not finite or longer than {MAX_LENGTH} "
                f"(length {lengths[bad[0]]:.4g}): normalise it"
            )
        vectors.setflags(write=False)
        for field, value in (("names", names), ("recipes", recipes), ("vectors", vectors)):
            object.__setattr__(self, field, value)

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of_texts(
        cls, concepts: ConceptSet, encoder: TextAndImageEncoder, progress: Progress | None = None
    ) -> PrototypeSet:
        """Make one prototype a concept from its texts; see `prototypes_from_texts`."""
        return prototypes_from_texts(concepts, encoder, progress)

    @classmethod
    def of_images(cls, name: str, pictures: Sequence[Image], encoder: TextAndImageEncoder) -> PrototypeSet:
        """Make one prototype of example pictures that are already decoded: the mean of their vectors."""
        vector = mean_direction(encoder.encode_images(list(pictures)), name)
        return cls((name,), vector[None], encoder.space, (_recipe_of_images(len(pictures)),))

    def select(self, names: Sequence[str]) -> PrototypeSet:
        """Keep some concepts, in the order asked for.

        Raises
        ------
        NotFound
            When a name is not in the set.
        """
        position = {name: row for row, name in enumerate(self.names)}
        missing = [name for name in names if name not in position]
        if missing:
            raise NotFound(f"there is no prototype of {missing[0]!r} among these {len(self)}")
        rows = [position[name] for name in names]
        return PrototypeSet(tuple(names), self.vectors[rows], self.space, tuple(self.recipes[row] for row in rows))

    def save(self, path: str | Path) -> None:
        """Write the set as parquet: columns name, recipe, vector; the space in the schema's metadata."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        flat = pa.array(self.vectors.reshape(-1), type=pa.float16())
        table = pa.table(
            {
                "name": pa.array(self.names, pa.string()),
                "recipe": pa.array(self.recipes, pa.string()),
                "vector": pa.FixedSizeListArray.from_arrays(flat, self.space.dimension),
            }
        ).replace_schema_metadata({_METADATA_SPACE: self.space.to_json()})
        path = Path(path)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            pq.write_table(table, unfinished)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> PrototypeSet:
        """Read what `save` wrote.

        Raises
        ------
        NotFound
            When there is no such file.
        BadInput
            When it is no file of prototypes.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not Path(path).is_file():
            raise NotFound(f"there is no file of prototypes {path}")
        try:
            table = pq.read_table(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise BadInput(f"{path} is not a parquet file ({str(error).splitlines()[0]})") from error
        metadata: dict[bytes, bytes] = table.schema.metadata or {}
        if _METADATA_SPACE not in metadata or not {"name", "recipe", "vector"} <= set(table.column_names):
            raise BadInput(f"{path} is no file of prototypes: it needs columns name, recipe, vector and a space")
        space = Space.from_json(metadata[_METADATA_SPACE])
        column: Any = table.column("vector").combine_chunks()
        vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, space.dimension)
        return cls(tuple(table["name"].to_pylist()), vectors, space, tuple(table["recipe"].to_pylist()))


def prototypes_from_texts(
    concepts: ConceptSet, encoder: TextAndImageEncoder, progress: Progress | None = None
) -> PrototypeSet:
    """Make one prototype a concept: the mean over its templates and synonyms, normalised, rounded to float16.

    Parameters
    ----------
    concepts
        The concepts; see `texts_for` for the texts of each.
    encoder
        What encodes them; its space becomes the set's.
    progress
        Advanced by one a concept.

    Notes
    -----
    Averaging the unit vectors of many prompts and normalising the mean is CLIP's prompt ensembling (Radford et al.
    2021, section 3.1.4).
    """
    progress = progress or NoProgress()
    vectors, recipes = [], []
    for group in _groups(concepts):
        texts = [text for _, own, _ in group for text in own]
        encoded = encoder.encode_texts(texts)
        start = 0
        for concept, own, recipe in group:
            vectors.append(mean_direction(encoded[start : start + len(own)], concept.name))
            recipes.append(recipe)
            start += len(own)
            progress.advance()
    return PrototypeSet(concepts.names, np.stack(vectors), encoder.space, tuple(recipes))


def prototypes_from_images(name: str, paths: Sequence[str | Path], encoder: TextAndImageEncoder) -> PrototypeSet:
    """Make one prototype of example pictures: the mean of their vectors, normalised, rounded to float16.

    Raises
    ------
    NotFound, BadInput
        For a file that does not exist, and for one that is no picture.
    """
    return PrototypeSet.of_images(name, [read_picture(path) for path in paths], encoder)


def prototypes_from_examples(
    concepts: ConceptSet, encoder: TextAndImageEncoder, progress: Progress | None = None
) -> PrototypeSet:
    """Make one prototype a concept from the example pictures that the concept set's file names.

    Raises
    ------
    BadInput
        When a concept has none.
    """
    without = [concept.name for concept in concepts if not concept.images]
    if without:
        raise BadInput(
            f"{len(without)} of the {len(concepts)} concepts of {concepts.name!r} name no example images, "
            f"{without[0]!r} first: give them `images`, or make their prototypes from text"
        )
    progress = progress or NoProgress()
    sets = []
    for concept in concepts:
        sets.append(prototypes_from_images(concept.name, concept.images, encoder))
        progress.advance()
    return PrototypeSet(
        concepts.names,
        np.concatenate([one.vectors for one in sets]),
        encoder.space,
        tuple(one.recipes[0] for one in sets),
    )


def recipes_of_texts(concepts: ConceptSet) -> tuple[str, ...]:
    """How would each concept's prototype be made from texts? Needs no model."""
    chosen = [one.templates if one.templates is not None else concepts.templates for one in concepts]
    return tuple(
        _recipe(texts_for(concept, open_templates(templates)), templates)
        for concept, templates in zip(concepts, chosen, strict=True)
    )


def recipes_of_examples(concepts: ConceptSet) -> tuple[str, ...]:
    """How would each concept's prototype be made from the pictures that its file names? Needs no model."""
    return tuple(_recipe_of_images(len(concept.images)) for concept in concepts)


def mean_direction(vectors: np.ndarray, name: str) -> np.ndarray:
    """Give the normalised mean of unit vectors, worked out in float64 and rounded to float16.

    Parameters
    ----------
    vectors
        (n, d) float16 unit rows.
    name
        The concept, for the message.

    Returns
    -------
    numpy.ndarray
        (d,) float16.

    Raises
    ------
    BadInput
        When there is no vector, or their mean has no direction.
    """
    if not len(vectors):
        raise BadInput(f"concept {name!r} has no text and no picture to make a prototype from")
    mean = vectors.astype(np.float64).mean(axis=0)
    length = float(np.sqrt(mean @ mean))
    if not length > _SHORTEST_MEAN:  # nan is refused too
        raise BadInput(
            f"the texts or pictures of {name!r} have no common direction: their mean has length {length:.2g}"
        )
    return (mean / length).astype(np.float16)


def read_picture(path: str | Path) -> Image:
    """Read an example picture.

    Raises
    ------
    NotFound
        When there is no such file.
    BadInput
        When it is no picture that can be decoded.
    """
    from ..embed.decoding import UndecodableImage, decode_image

    try:
        return decode_image(Path(path).read_bytes())
    except FileNotFoundError:
        raise NotFound(f"there is no picture {path}") from None
    except OSError as error:
        raise BadInput(f"picture {path} cannot be read ({error.strerror}): pass a picture file") from error
    except UndecodableImage as error:
        raise BadInput(f"picture {path} cannot be used ({error}): pass a whole JPEG, PNG or WebP") from error


def _groups(concepts: ConceptSet) -> Iterator[list[tuple[Concept, tuple[str, ...], str]]]:
    """Cut the set into groups of at least `_TEXTS_A_STEP` texts: full batches, and a bar that moves."""
    group: list[tuple[Concept, tuple[str, ...], str]] = []
    waiting = 0
    for concept in concepts:
        chosen = concept.templates if concept.templates is not None else concepts.templates
        texts = texts_for(concept, open_templates(chosen))
        group.append((concept, texts, _recipe(texts, chosen)))
        waiting += len(texts)
        if waiting >= _TEXTS_A_STEP:
            yield group
            group, waiting = [], 0
    if group:
        yield group


def _recipe(texts: tuple[str, ...], templates: str | tuple[str, ...]) -> str:
    if len(texts) == 1:
        return f'text "{texts[0]}"'
    named = f" ({templates})" if isinstance(templates, str) and templates != "plain" else ""
    return f'mean of {len(texts)} texts{named}, "{texts[0]}" first'


def _recipe_of_images(pictures: int) -> str:
    return "1 example image" if pictures == 1 else f"mean of {pictures} example images"
