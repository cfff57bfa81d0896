"""An audit as it stands: which rows were drawn from which stratum of which corpus, and what people said of them.

A session is a value: each step gives a new one, and `save_session` keeps it, so that nothing is lost and labels never
meet another corpus. Not here: drawing rows (`audit_rows.py`), estimates (`audit.py`), files people fill
(`label_files.py`), the page (`audit_page.py`).
"""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tailwag.errors import BadInput, NotFound, SpaceMismatch
from tailwag.progress import Progress

from ...embed.corpus import Corpus
from ...embed.space import Space
from ...retrieval.concepts import fold, refuse
from ...retrieval.prototypes import PrototypeSet
from ...retrieval.records.certificate import state_of
from ...retrieval.result_tables import replaced_when_done
from .anchored import Recall
from .audit import AuditedFrequency, Labelled, audited_frequency, next_labels
from .audit_rows import draw_rows
from .calibrating import CalibratedFrequency, Calibration
from .grades import grade_audited
from .label_files import Answer, Label
from .strata import Stratum, lay_strata

FORMAT = "tailwag audit 1"
# An audit with fewer decided labels says nothing that captions do not.
FEWEST_LABELS = 10
# Drawn from each stratum when an audit begins, so that hundreds of labels need no other pass over the corpus.
_MOST_OF_A_STRATUM = 400


@dataclass(frozen=True)
class AskedRow:
    """One row that people are asked about: its stratum's position, its offset and key in the corpus."""

    stratum: int
    offset: int
    key: str


@dataclass(frozen=True, eq=False)
class AuditedConcept:
    """One concept of an audit.

    Attributes
    ----------
    before
        Its frequency without labels.
    recall
        What captions said of naming.
    prototype
        (dimension,) float16.
    strata
        Of its rows.
    drawn
        For each stratum offsets in random order, from which rows are asked about one after the other.
    asked
        The rows that were asked about, in the order in which they were.
    answers
        What was said of them, by key.
    """

    before: CalibratedFrequency
    recall: Recall
    prototype: np.ndarray
    strata: tuple[Stratum, ...]
    drawn: tuple[tuple[int, ...], ...]
    asked: tuple[AskedRow, ...] = ()
    answers: Mapping[str, Answer] = ()  # type: ignore[assignment]

    def __post_init__(self) -> None:
        object.__setattr__(self, "answers", dict(self.answers))

    @property
    def name(self) -> str:
        """The concept's name."""
        return self.before.concept

    @property
    def pending(self) -> tuple[AskedRow, ...]:
        """The rows that were asked about and not answered."""
        return tuple(row for row in self.asked if row.key not in self.answers)

    @property
    def decided(self) -> int:
        """How many rows were answered with yes or no."""
        return sum(answer != "unsure" for answer in self.answers.values())

    @property
    def unsure(self) -> int:
        """How many rows people could not tell."""
        return len(self.answers) - self.decided

    def labelled(self) -> tuple[Labelled, ...]:
        """Count the answers of each stratum; rows that people could not tell count as rows that nobody looked at."""
        rows, true = Counter[int](), Counter[int]()
        for row in self.asked:
            answer = self.answers.get(row.key)
            rows[row.stratum] += answer in ("yes", "no")
            true[row.stratum] += answer == "yes"
        return tuple(Labelled(rows[position], true[position]) for position in range(len(self.strata)))

    def estimate(self) -> AuditedFrequency:
        """Estimate the frequency from the answers so far."""
        return audited_frequency(self.strata, self.labelled(), self.recall)


@dataclass(frozen=True, eq=False)
class AuditSession:
    """An audit of some concepts of one corpus at one version.

    Attributes
    ----------
    corpus, corpus_version, corpus_state, space
        What is audited; the state names its rows, the space is a fingerprint.
    seed
        Of the draws.
    concepts
        Those that are audited.
    """

    corpus: str
    corpus_version: int
    corpus_state: str
    space: str
    seed: int
    concepts: tuple[AuditedConcept, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The concepts' names."""
        return tuple(one.name for one in self.concepts)

    @property
    def pending(self) -> int:
        """How many rows wait for an answer, over all concepts."""
        return sum(len(one.pending) for one in self.concepts)

    def prototypes(self, space: Space) -> PrototypeSet:
        """Give the concepts' prototypes, which live in the corpus's space."""
        vectors = np.stack([one.prototype for one in self.concepts])
        return PrototypeSet(self.names, vectors, space, tuple(one.before.recipe for one in self.concepts))

    def require_for(self, corpus: Corpus, names: Sequence[str], where: str | Path) -> None:
        """Refuse another corpus, version, space or concept than the audit's.

        Raises
        ------
        SpaceMismatch
            For a corpus of another space.
        BadInput
            For anything else that differs.
        """
        if corpus.space.fingerprint != self.space:
            raise SpaceMismatch(
                f"the audit in {where} is of space {self.space}, and corpus {corpus.name!r} of "
                f"{corpus.space.fingerprint}: begin another with another --out"
            )
        if corpus.name != self.corpus:
            raise BadInput(
                f"the audit in {where} is of corpus {self.corpus!r}, not {corpus.name!r}: begin another with "
                "another --out"
            )
        if state_of(corpus) != self.corpus_state:
            raise BadInput(
                f"the audit in {where} drew from version {self.corpus_version} of corpus {self.corpus!r}, and this is "
                f"version {corpus.version} with other rows: pass --version {self.corpus_version}, or begin another "
                "with another --out"
            )
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise BadInput(
                f"the audit in {where} is of {_listed(self.names)}, not {unknown[0]!r}: begin another with another "
                "--out"
            )

    def ask(self, corpus: Corpus, number: int, *, reached: Mapping[str, bool] | None = None) -> AuditSession:
        """Choose the next rows to ask about, so that each concept has `number` pending; fewer where there are no more.

        Which rows: where labels narrow the interval most, given the answers so far; see `next_labels`. Of the concepts
        that `reached` says are done, none.
        """
        done = reached or {}
        concepts = tuple(one if done.get(one.name) else _ask(one, corpus, number) for one in self.concepts)
        return replace(self, concepts=concepts)

    def answer(self, labels: Sequence[Label], where: str | Path = "the labels") -> tuple[AuditSession, int]:
        """Take labels in; those without an answer say nothing.

        Returns
        -------
        tuple[AuditSession, int]
            The new session, and how many rows are called otherwise than before.

        Raises
        ------
        BadInput
            With every label whose row or concept this audit did not ask about.
        """
        told = [dict(one.answers) for one in self.concepts]
        asked = [{row.key for row in one.asked} for one in self.concepts]
        positions = {fold(name): position for position, name in enumerate(self.names)}
        mistakes, changed = [], 0
        for label in labels:
            position = positions.get(fold(label.concept)) if label.concept else 0
            if position is None or (not label.concept and len(self.concepts) > 1):
                what = f"concept {label.concept!r} is not audited" if label.concept else "no concept is named"
                mistakes.append(f"line {label.line}: {what}; the audit is of {_listed(self.names)}")
            elif label.key not in asked[position]:
                mistakes.append(f"line {label.line}: nobody was asked about {label.key!r}")
            elif label.answer is not None:
                changed += told[position].get(label.key, label.answer) != label.answer
                told[position][label.key] = label.answer
        if mistakes:
            mistakes.append("only rows that the audit drew can be used: of others nobody knows how they were chosen")
        refuse(str(where), mistakes)
        concepts = tuple(replace(one, answers=own) for one, own in zip(self.concepts, told, strict=True))
        return replace(self, concepts=concepts), changed

    def labels(self) -> tuple[Label, ...]:
        """Give every row that was asked about, with its answer where there is one, in an order that tells nothing."""
        return tuple(
            Label(row.key, one.name, one.answers.get(row.key))
            for one in self.concepts
            for row in shuffled(one.asked, self.seed)
        )


def begin_session(
    corpus: Corpus, calibration: Calibration, *, seed: int = 0, progress: Progress | None = None
) -> tuple[AuditSession, tuple[str, ...]]:
    """Lay strata for each concept and draw from them, in one pass over the corpus.

    Returns
    -------
    tuple[AuditSession, tuple[str, ...]]
        The session, and the concepts that it leaves out since no caption names them.

    Raises
    ------
    BadInput
        When captions name none of the concepts.
    """
    laid = [
        lay_strata(rows, mentions, frequency)
        for rows, mentions, frequency in zip(
            calibration.rows_by_similarity, calibration.mentions_by_similarity, calibration.anchored, strict=True
        )
    ]
    left_out = tuple(one.concept for one, strata in zip(calibration, laid, strict=True) if not strata)
    if len(left_out) == len(laid):
        raise BadInput(
            f"no caption of corpus {corpus.name!r} names {_listed(left_out)}: captions cannot guide an audit; give "
            "other names with --synonym"
        )
    vectors = calibration.prototypes.vectors
    drawn = draw_rows(corpus, vectors, laid, calibration.mentions, _MOST_OF_A_STRATUM, seed=seed, progress=progress)
    concepts = tuple(
        AuditedConcept(
            calibration[position],
            calibration.anchored[position].recall,
            vectors[position],
            laid[position],
            tuple(tuple(one.tolist()) for one in drawn[position]),
        )
        for position in range(len(calibration))
        if laid[position]
    )
    fingerprint = corpus.space.fingerprint
    return AuditSession(corpus.name, corpus.version, state_of(corpus), fingerprint, seed, concepts), left_out


def corrected(one: AuditedConcept) -> CalibratedFrequency:
    """Give a concept's frequency: by labels where there are enough, else as it was without.

    The grade is that of `grade_audited`, and at best fragile where all labels say the same, since they do not tell
    where the concept ends, and where people could not tell of more than a fifth of the rows.
    """
    if one.decided < FEWEST_LABELS:
        return replace(one.before, labels=one.decided, unsure=one.unsure)
    audited = one.estimate()
    yes = sum(answer == "yes" for answer in one.answers.values())
    grade = grade_audited(audited)
    more = []
    if yes in (0, one.decided):
        more.append(f"all {one.decided} labels say {'yes' if yes else 'no'}")
    if one.unsure > one.decided / 4:
        more.append(f"of {one.unsure} rows people could not tell")
    return replace(
        one.before,
        estimate=audited.estimate,
        lower=audited.lower,
        upper=audited.upper,
        method=f"audit of {one.decided} labels",
        grade="fragile" if more and grade.level == "sound" else grade.level,
        reasons=(*grade.reasons, *more),
        labels=one.decided,
        unsure=one.unsure,
    )


def narrowness(lower: float, upper: float) -> float:
    """How wide is an interval? √(upper / lower) - 1: .2 where both ends are some 20 % from the middle.

    Half a row is added to either end, so that an interval from 0 has a width.
    """
    return math.sqrt((upper + 0.5) / (lower + 0.5)) - 1


def shuffled(rows: Sequence[AskedRow], seed: int) -> list[AskedRow]:
    """Put rows in a random order that does not tell their stratum, the same for the same rows."""
    order = np.random.default_rng(seed).permutation(len(rows))
    return [rows[position] for position in order]


def save_session(session: AuditSession, path: str | Path) -> None:
    """Write a session as JSON, whole or not at all."""
    described = {name: getattr(session, name) for name in ("corpus", "corpus_version", "corpus_state", "space", "seed")}
    concepts = [
        {
            "before": _without_nan(asdict(one.before)),
            "recall": asdict(one.recall),
            "prototype": base64.b64encode(one.prototype.astype("<f2").tobytes()).decode(),
            "strata": [asdict(stratum) for stratum in one.strata],
            "drawn": one.drawn,
            "asked": [[row.stratum, row.offset, row.key] for row in one.asked],
            "answers": one.answers,
        }
        for one in session.concepts
    ]
    with replaced_when_done(path) as unfinished:
        text = json.dumps({"format": FORMAT, **described, "concepts": concepts}, ensure_ascii=False)
        unfinished.write_text(text, "utf-8")


def load_session(path: str | Path) -> AuditSession:
    """Read a session.

    Raises
    ------
    NotFound
        When there is none.
    BadInput
        When it is damaged or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFound(f"no audit in {path.parent}: begin one with --audit 30")
    try:
        read: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if read.get("format") != FORMAT:
            raise BadInput(f"{path} has format {read.get('format')!r}, this tailwag reads {FORMAT!r}")
        concepts = tuple(_concept(one) for one in read["concepts"])
        return AuditSession(
            read["corpus"], read["corpus_version"], read["corpus_state"], read["space"], read["seed"], concepts
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(
            f"{path} is damaged ({type(error).__name__}: {error}): begin another with another --out"
        ) from error


def _concept(read: dict[str, Any]) -> AuditedConcept:
    before: dict[str, Any] = {name: float("nan") if value is None else value for name, value in read["before"].items()}
    return AuditedConcept(
        CalibratedFrequency(**{**before, "reasons": tuple(before["reasons"])}),
        Recall(**read["recall"]),
        np.frombuffer(base64.b64decode(read["prototype"]), dtype="<f2"),
        tuple(Stratum(**stratum) for stratum in read["strata"]),
        tuple(map(tuple, read["drawn"])),
        tuple(AskedRow(*row) for row in read["asked"]),
        read["answers"],
    )


def _ask(one: AuditedConcept, corpus: Corpus, number: int) -> AuditedConcept:
    wanted = number - len(one.pending)
    if wanted <= 0:
        return one
    shown = Counter(row.stratum for row in one.asked)
    known = one.labelled()
    # Rows that wait for an answer, or that people could not tell, are not asked about again.
    capped = tuple(
        replace(stratum, rows=max(stratum.rows - shown[position] + known[position].rows, 1))
        for position, stratum in enumerate(one.strata)
    )
    more = next_labels(capped, known, one.recall, wanted)
    offsets = [
        (position, offset)
        for position, extra in enumerate(more)
        for offset in one.drawn[position][shown[position] : shown[position] + extra]
    ]
    if not offsets:
        return one
    keys = corpus.take_offsets([offset for _, offset in offsets], ["key"]).column("key").to_pylist()
    rows = tuple(AskedRow(position, offset, key) for (position, offset), key in zip(offsets, keys, strict=True))
    return replace(one, asked=(*one.asked, *rows))


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")
