"""Is what a corpus stores what its pictures and captions give? A sample of rows is embedded again and compared.

Reads, and writes nothing. Not here: the installation (`doctor.py`), what the job wrote down of itself (`ledger.py`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailwag.errors import Caution, TailwagError

from .corpus import SIDES, Corpus, Side, is_unit
from .database import first_line
from .decoding import Decoded, InThisThread
from .doctor import Check
from .encoder import LEAST_COSINE, Encoder
from .ledger import Ledger
from .pictures import read_pictures

# Rows whose lengths are looked at: a counting pass looks at every one of those it reads.
_MEASURED_ROWS = 10_000
# Rows that are embedded again lie in so many places at most: for each, a shard is read until they are found.
_PLACES = 8
_NEIGHBOURS = 256
# Up to this share of wrong rows, single rows are to blame; beyond it, how they were made.
_FEW = 0.2
# What another preprocessing leaves of a cosine; other weights leave nothing.
_AKIN = 0.7
_WHAT = {"image": "picture", "text": "caption"}


@dataclass(frozen=True)
class Recomputed:
    """Cosines of stored vectors with those made again.

    Attributes
    ----------
    keys
        (n,) of the rows.
    cosines
        (n,) float64.
    """

    keys: tuple[str, ...]
    cosines: np.ndarray

    @property
    def wrong(self) -> np.ndarray:
        """Positions of the rows that do not agree."""
        return np.flatnonzero(~(self.cosines >= LEAST_COSINE))

    @property
    def numbers(self) -> dict[str, Any]:
        """How the cosines are distributed."""
        if not len(self.cosines):
            return {"rows": 0}
        least, median = np.min(self.cosines), np.median(self.cosines)
        return {"rows": len(self.cosines), "wrong": len(self.wrong), "least": float(least), "median": float(median)}

    @property
    def are_few(self) -> bool:
        """Whether only single rows disagree."""
        return len(self.wrong) <= max(1, _FEW * len(self.cosines)) and len(self.wrong) < len(self.cosines)


def check_corpus(
    corpus: Corpus,
    rows: int = 64,
    *,
    device: str | None = None,
    model: str | None = None,
    pretrained: str | None = None,
    seed: int = 0,
) -> Iterator[Check]:
    """Look at a corpus: sums, lengths, and a sample of rows embedded again.

    Parameters
    ----------
    corpus
        The corpus.
    rows
        How many rows are embedded again. Of a large corpus they lie in a few places.
    device, model, pretrained
        As for `Encoder.for_space`.
    seed
        Of the sample.

    Yields
    ------
    Check
        As soon as it is made.
    """
    yield check_sums(corpus)
    if not len(corpus):
        yield Check("vectors", None, "the corpus has no rows")
        return
    generator = np.random.default_rng(seed)
    yield check_lengths(corpus, generator)
    try:
        with warnings.catch_warnings(record=True) as cautions:
            warnings.simplefilter("always", Caution)
            encoder = Encoder.for_space(corpus.space, model, pretrained, device)
    except TailwagError as error:
        yield Check("space", False, first_line(error))
        return
    where = f"{encoder.space.title} on {encoder.device} in {encoder.precision}"
    if corpus.space.is_verified:
        yield Check("space", True, f"{where} makes space {corpus.space.fingerprint}, as the corpus records it")
    else:
        yield Check("space", None, str(cautions[0].message) if cautions else f"{where}: by name only")
    table = corpus.take_offsets(_sample(len(corpus), rows, generator), ["key", "caption", "width", "height", *SIDES])
    pictures, readable = _recompute_images(corpus, table, encoder)
    yield readable
    captions = _recompute_captions(table, encoder)
    yield _verdict("image", pictures, captions)
    yield _verdict("text", captions, pictures)


def check_sums(corpus: Corpus) -> Check:
    """Do rows and failures add up to the samples that were read?"""
    ledger = Ledger(corpus.database, corpus.name)
    records = ledger.records().values()
    rows, failures = sum(record.rows for record in records), len(ledger.failures())
    recorded = sum(record.failures for record in records)
    samples = sum(record.samples for record in records)
    numbers = {"rows": len(corpus), "failures": failures, "samples": samples, "shards": len(records)}
    if (len(corpus), failures, rows + recorded) == (rows, recorded, samples):
        said = f"{rows:,} rows + {failures:,} failures = {samples:,} samples of {len(records):,} shards"
        return Check("sums", True, said, numbers)
    said = (
        f"the corpus has {len(corpus):,} rows and {failures:,} failures, its {len(records):,} finished shards say "
        f"{rows:,} and {recorded:,} of {samples:,} samples: something else wrote to it, or a job has to be continued"
    )
    return Check("sums", False, said, numbers)


def check_lengths(corpus: Corpus, generator: np.random.Generator) -> Check:
    """Are stored vectors of unit length? Exact counting rests on it."""
    chosen = np.sort(generator.choice(len(corpus), min(_MEASURED_ROWS, len(corpus)), replace=False))
    table = corpus.take_offsets(chosen, ["key", *SIDES])
    wrong = [
        f"the {side} vector of {table.column('key')[int(row)]}"
        for side in SIDES
        for row in np.flatnonzero(~is_unit(_vectors(table, side)))
    ]
    numbers = {"rows": len(chosen), "wrong": len(wrong)}
    if wrong:
        more = f" and {len(wrong) - 1:,} others" if len(wrong) > 1 else ""
        said = f"{wrong[0]}{more} are not of unit length" if more else f"{wrong[0]} is not of unit length"
        return Check("lengths", False, f"{said}: something else wrote to the corpus; embed it again", numbers)
    whole = "all" if len(chosen) == len(corpus) else "a sample of"
    return Check("lengths", True, f"{whole} {len(chosen):,} rows have vectors of unit length on both sides", numbers)


def _sample(count: int, rows: int, generator: np.random.Generator) -> np.ndarray:
    """Choose rows in a few places of a large table, anywhere in a small one."""
    if count <= _PLACES * _NEIGHBOURS or count <= rows:
        return np.sort(generator.choice(count, min(rows, count), replace=False))
    starts = generator.choice(count // _NEIGHBOURS, _PLACES, replace=False) * _NEIGHBOURS
    near = np.concatenate([np.arange(start, start + _NEIGHBOURS) for start in starts])
    return np.sort(generator.choice(near, min(rows, len(near)), replace=False))


def _recompute_images(corpus: Corpus, table: Any, encoder: Encoder) -> tuple[Recomputed, Check]:
    keys: list[str] = table.column("key").to_pylist()
    pictures = read_pictures(corpus, keys)
    pixels, outcomes = InThisThread(encoder.preprocessing).decode([picture.data or b"" for picture in pictures])
    decoded = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, Decoded)]
    found = Recomputed(
        tuple(keys[row] for row in decoded), _cosines(_vectors(table, "image")[decoded], _in_batches(encoder, pixels))
    )
    lost = [picture.missing for picture in pictures if picture.data is None]
    broken = [row for row, picture in enumerate(pictures) if picture.data is not None and row not in set(decoded)]
    numbers = {"asked": len(keys), "read": len(keys) - len(lost), "decoded": len(decoded)}
    if broken:
        outcome = outcomes[broken[0]]
        said = f"{len(broken):,} of {len(keys):,} pictures do not decode any more: {keys[broken[0]]} ({outcome})"
        return found, Check("pictures", False, f"{said}; they did when they were embedded", numbers)
    if lost:
        said = f"{len(lost):,} of {len(keys):,} pictures cannot be read again: {lost[0]}"
        changed = any("changed" in reason for reason in lost)
        return found, Check("pictures", False if changed else None, said, numbers)
    return found, Check("pictures", True, f"{len(keys):,} pictures were read again, as they were embedded", numbers)


def _recompute_captions(table: Any, encoder: Encoder) -> Recomputed:
    made = encoder.encode_texts(table.column("caption").to_pylist())
    return Recomputed(tuple(table.column("key").to_pylist()), _cosines(_vectors(table, "text"), made))


def _verdict(side: Side, found: Recomputed, other: Recomputed) -> Check:
    """Say whether one side's vectors agree; what disagrees, and what does not, tells what is to blame."""
    question, what, numbers = f"{_WHAT[side]}s again", _WHAT[side], found.numbers
    if not numbers["rows"]:
        return Check(question, None, f"no {what} could be embedded again", numbers)
    least, median = (f"{np.floor(numbers[name] * 1e5) / 1e5:.5f}" for name in ("least", "median"))
    if not len(found.wrong):
        said = f"{numbers['rows']:,} vectors made again agree: cosine at least {least}, median {median}"
        return Check(question, True, said, numbers)
    said = (
        f"{len(found.wrong):,} of {numbers['rows']:,} vectors made again differ (least cosine {least}, median {median})"
    )
    worst = found.keys[int(np.argmin(found.cosines))]
    if found.are_few:
        blame = f"the others agree, so the row's vector is not that of its {what}: {worst}"
    elif not len(other.wrong):
        made = "prepared otherwise, or on a device that computes otherwise" if numbers["median"] > _AKIN else "made by"
        half = "" if numbers["median"] > _AKIN else f" other weights, or rows and {what}s are out of step"
        blame = f"the other side agrees, so these were {made}{half}"
    elif numbers["median"] > _AKIN:
        blame = "the other side differs too: another precision or device, or weights of another training step"
    else:
        blame = "the other side differs too, so other weights made this corpus than it records"
    return Check(question, False, f"{said}; {blame}. Embed again into a new corpus", numbers)


def _vectors(table: Any, side: Side) -> np.ndarray:
    column = table.column(side).combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)


def _in_batches(encoder: Encoder, pixels: np.ndarray, size: int = 32) -> np.ndarray:
    made: Sequence[np.ndarray] = [encoder.encode_pixels(pixels[at : at + size]) for at in range(0, len(pixels), size)]
    return np.concatenate(made) if made else np.zeros((0, encoder.space.dimension), np.float16)


def _cosines(stored: np.ndarray, made: np.ndarray) -> np.ndarray:
    left, right = stored.astype(np.float64), made.astype(np.float64)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sum(left * right, axis=1) / lengths
