"""What `tailwag calibrate` does when people label: begins or continues an audit, takes labels in, asks for more.

Not here: the command itself (`commands.py`), its options (`audit_options.py`), the audit's state (`audit_session.py`).
Only click is imported at the top.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .audit_options import Auditing

if TYPE_CHECKING:
    from ...embed.corpus import Corpus
    from ...retrieval.concepts import ConceptSet
    from .audit_answer import AuditAnswer
    from .audit_session import AuditedConcept, AuditSession
    from .calibrating import CalibratedFrequency, Calibration

SESSION_FILE, PAGE_FILE, SHEET_FILE = "audit.json", "audit.html", "labels.csv"
_DEFAULT_ROWS = 30
# Rows that a label column answers between two looks at where the next ones help most.
_COLUMN_STEP = 10
_SHOWN_POOLED = 20


def answer_by_audit(
    corpus: Corpus,
    wanted: ConceptSet,
    auditing: Auditing,
    command: str,
    calibrate: Callable[[], Calibration],
) -> AuditSession:
    """Begin or continue an audit, take in what was said, ask for more, and write all of it down.

    Parameters
    ----------
    corpus, wanted
        What is audited.
    auditing
        What was asked for.
    command
        The command line up to the options, to be told on the page.
    calibrate
        Makes the frequencies without labels, where an audit begins.

    Raises
    ------
    NotFound
        For labels without an audit, or a file that does not exist.
    BadInput
        For labels that cannot be used, or too few of them.
    """
    from .audit_state import load_session, save_session

    state = auditing.folder / SESSION_FILE
    if state.is_file() or auditing.labels:
        session = load_session(state)
        session.require_for(corpus, wanted.names, auditing.folder)
        _refuse_other_guide(session, auditing)
    else:
        session = _begin(corpus, wanted, auditing, calibrate)
    session = _take_labels(session, auditing)
    save_session(session, state)
    if auditing.label_column:
        session = _ask_column(corpus, session, wanted, auditing)
    elif auditing.ask:
        session = _ask_here(corpus, session, auditing)
    elif auditing.asks_for_more:
        session = _ask_for(corpus, session, _number(auditing), _reached(session, auditing))
    save_session(session, state)
    _write_files(corpus, session, auditing, command)
    _refuse_too_few(session, auditing)
    return session


def tell_audit(session: AuditSession, auditing: Auditing) -> None:
    """Say on stderr what the labels were, and what to do next."""
    from .audit_answer import answer_of, narrowness

    alone = [one.name for one in session.concepts if one.by_similarity]
    if alone:
        shown = ", ".join(map(repr, alone[:5])) + (f" and {len(alone) - 5:,} more" if len(alone) > 5 else "")
        why = "no caption names them, or --no-captions was given"
        click.echo(
            f"audited by similarity alone, since {why}: {shown}. That is at best fragile, tells nothing below a "
            "thousandth of the rows, and look-alikes may count",
            err=True,
        )
    answer = answer_of(session)
    for one, frequency in zip(session.concepts, answer.frequencies, strict=True):
        counts = [sum(said == answer for said in one.answers.values()) for answer in ("yes", "no", "unsure")]
        if not one.answers:
            continue
        told = f"{one.name}: {counts[0]} yes, {counts[1]} no, {counts[2]} unsure"
        if 0 in counts[:2] and one.decided:
            said, more = ("yes", "audit more rows to see where it ends") if counts[0] else ("no", "is its name right?")
            told += f"; every label says {said}: {more}"
        if auditing.within is not None:
            width = narrowness(frequency.lower, frequency.upper)
            enough = width <= auditing.within
            told += f"; the interval is within {100 * width:.0f} % of its middle, " + (
                "which is enough" if enough else f"and {100 * auditing.within:g} % was asked for"
            )
        click.echo(told, err=True)
    _tell_pooled(session, answer)
    if session.pending:
        click.echo(
            f"{session.pending:,} pictures wait for a label: open {auditing.folder / PAGE_FILE}, or fill in "
            f"{auditing.folder / SHEET_FILE}; then pass --labels FILE",
            err=True,
        )
    elif auditing.asks_for_more and not all(_reached(session, auditing).values()) and not auditing.ask:
        click.echo("there are no more rows to ask about: all that were drawn are labelled", err=True)


def _tell_pooled(session: AuditSession, answer: AuditAnswer) -> None:
    """Say what the audits of some concepts taught about captions, and what that made of the others' frequencies."""
    from ...retrieval.records.saved_frequencies import format_rows

    if not answer.audits:
        return
    told = (
        f"by the audits of {answer.audits} concepts, frequencies from captions are to be multiplied by "
        f"{answer.factor:.2f} in this corpus; concepts differ about that by a factor of {answer.spread:.2f}"
    )
    if not answer.pooled:
        click.echo(f"{told}; all have labels of their own, and go by them", err=True)
        return
    click.echo(f"{told}. Without labels of their own, and corrected ({len(answer.pooled):,}):", err=True)
    for one, frequency in zip(session.concepts, answer.frequencies, strict=True):
        if one.name in answer.pooled[:_SHOWN_POOLED]:
            before, after = (
                f"{format_rows(each.estimate)} ({format_rows(each.lower)} to {format_rows(each.upper)})"
                for each in (one.before, frequency)
            )
            click.echo(f"  {one.name}: {before} by captions alone, {after} corrected", err=True)
    if len(answer.pooled) > _SHOWN_POOLED:
        click.echo(f"  and {len(answer.pooled) - _SHOWN_POOLED:,} more", err=True)


def frequencies_of(session: AuditSession) -> tuple[CalibratedFrequency, ...]:
    """Give the frequency of each audited concept as it stands."""
    from .audit_answer import answer_of

    return answer_of(session).frequencies


def _begin(
    corpus: Corpus, wanted: ConceptSet, auditing: Auditing, calibrate: Callable[[], Calibration]
) -> AuditSession:
    from tailwag.progress import progress

    from .audit_beginning import begin_session

    calibration = calibrate()
    with progress("drawing rows", total=len(corpus)) as bar:
        session = begin_session(
            corpus,
            calibration,
            wanted,
            captions=auditing.captions,
            most=auditing.concepts,
            seed=auditing.seed,
            progress=bar,
        )
    auditing.folder.mkdir(parents=True, exist_ok=True)
    return session


def _refuse_other_guide(session: AuditSession, auditing: Auditing) -> None:
    from tailwag.errors import BadInput

    guided = [one.name for one in session.concepts if not one.by_similarity]
    if guided and not auditing.captions:
        raise BadInput(
            f"captions guide the audit of {guided[0]!r} in {auditing.folder}: leave out --no-captions, or begin "
            "another with another --out"
        )


def _ask_for(corpus: Corpus, session: AuditSession, number: int, reached: dict[str, bool]) -> AuditSession:
    from tailwag.progress import progress

    return session.ask(corpus, number, reached=reached, show=progress)


def _take_labels(session: AuditSession, auditing: Auditing) -> AuditSession:
    """Take in the folder's own sheet, which someone may have filled in, and the files that are named."""
    from .label_files import read_labels

    sheet = auditing.folder / SHEET_FILE
    named = [Path(path) for path in auditing.labels]
    paths = [sheet] if sheet.is_file() and not any(path.resolve() == sheet.resolve() for path in named) else []
    for path in (*paths, *named):
        session, changed = session.answer(read_labels(path), path)
        if changed:
            click.echo(f"tailwag: {path} calls {changed:,} rows otherwise than before; it goes", err=True)
    return session


def _ask_column(corpus: Corpus, session: AuditSession, wanted: ConceptSet, auditing: Auditing) -> AuditSession:
    from tailwag.errors import BadInput

    from ...retrieval.concepts import fold

    if not corpus.count_rows("label IS NOT NULL"):
        raise BadInput(f"corpus {corpus.name!r} has no labels: leave out --label-column, and label by hand")
    spellings = {one.name: {fold(name) for name in (one.name, *one.synonyms)} for one in wanted}
    most = _number(auditing)
    while True:
        session = _from_column(corpus, session, spellings)
        # With --within alone the number is how many are labelled between two looks.
        if auditing.rows is not None or auditing.within is None:
            done = {one.name: len(one.answers) >= most or not one.strata for one in session.concepts}
        else:
            done = dict.fromkeys(session.names, False)
        if auditing.within is not None:
            done = {name: done[name] or reached for name, reached in _reached(session, auditing).items()}
        if all(done.values()):
            return session
        left = max(most - min(len(one.answers) for one in session.concepts if not done[one.name]), 1)
        step = min(_COLUMN_STEP, left) if auditing.rows is not None or auditing.within is None else _COLUMN_STEP
        asked = _ask_for(corpus, session, step, done)
        if not asked.pending:
            return session
        session = asked


def _from_column(corpus: Corpus, session: AuditSession, spellings: dict[str, set[str]]) -> AuditSession:
    from ...retrieval.concepts import fold
    from .label_files import Label

    labels: list[Label] = []
    for one in session.concepts:
        rows = one.pending
        if not rows:
            continue
        said = corpus.take_offsets([row.offset for row in rows], ["label"]).column("label").to_pylist()
        for row, label in zip(rows, said, strict=True):
            answer = "unsure" if label is None else "yes" if fold(label) in spellings[one.name] else "no"
            labels.append(Label(row.key, one.name, answer))
    return session.answer(labels)[0]


def _ask_here(corpus: Corpus, session: AuditSession, auditing: Auditing) -> AuditSession:
    """Ask in the terminal, one row after the other; what was said is written down at once."""
    from .audit_state import save_session
    from .label_files import Label

    while True:
        reached = _reached(session, auditing)
        if auditing.within is not None and all(reached.values()):
            return session
        session = _ask_for(corpus, session, _number(auditing), reached)
        save_session(session, auditing.folder / SESSION_FILE)
        if not session.pending:
            return session
        for name, key, question in _questions(corpus, session):
            click.echo(question)
            said = click.prompt(
                "  y, n, u, q", type=click.Choice(["y", "n", "u", "q"]), show_choices=False, default=None
            )
            if said == "q":
                return session
            answer = {"y": "yes", "n": "no", "u": "unsure"}[said]
            session, _ = session.answer([Label(key, name, answer)])  # type: ignore[arg-type]
            save_session(session, auditing.folder / SESSION_FILE)
        if auditing.within is None:
            return session


def _questions(corpus: Corpus, session: AuditSession) -> Iterator[tuple[str, str, str]]:
    """Give concept, key and question of every row that waits, without what a terminal would obey."""
    from .audit_session import shuffled

    for one in session.concepts:
        rows = shuffled(one.pending, session.seed)
        if not rows:
            continue
        shown = corpus.take_offsets([row.offset for row in rows], ["key", "url", "caption"]).to_pylist()
        for position, (row, fields) in enumerate(zip(rows, shown, strict=True), start=1):
            where, caption = (" ".join(_printable(text).split()) for text in (fields["url"], fields["caption"]))
            yield (
                one.name,
                row.key,
                f"{position} of {len(rows)}: does {where or _printable(row.key)} show {one.name!r}?\n  {caption}",
            )


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _write_files(corpus: Corpus, session: AuditSession, auditing: Auditing, command: str) -> None:
    from .audit_page import write_audit_page
    from .label_files import write_labels

    write_labels(session.labels(), auditing.folder / SHEET_FILE)
    page = auditing.folder / PAGE_FILE
    if not session.pending:
        page.unlink(missing_ok=True)  # a page whose pictures are all labelled would be labelled again
        return
    if auditing.ask:
        return
    where = "" if auditing.folder == Path("tailwag-audit") else f" --out {shlex.quote(str(auditing.folder))}"
    missing = write_audit_page(corpus, session, page, f"{command} --labels FILE{where}")
    if missing:
        click.echo(
            f"tailwag: {missing:,} of the {session.pending:,} pictures could not be shown; the page says why", err=True
        )


def _refuse_too_few(session: AuditSession, auditing: Auditing) -> None:
    """Say so where someone brought labels that are not enough for any concept."""
    from tailwag.errors import BadInput

    from .audit_answer import FEWEST_LABELS

    if not auditing.labels:
        return
    most = max(session.concepts, key=lambda one: one.decided)
    if most.decided < FEWEST_LABELS:
        unsure = f" ({most.unsure} more are unsure)" if most.unsure else ""
        waiting = (
            f"{session.pending:,} more wait in {auditing.folder / SHEET_FILE}"
            if session.pending
            else (f"ask for more with --audit {_DEFAULT_ROWS}")
        )
        raise BadInput(
            f"{most.decided} labels of {most.name!r} say yes or no{unsure}, and an audit needs {FEWEST_LABELS}: they "
            f"are kept; {waiting}"
        )


def _reached(session: AuditSession, auditing: Auditing) -> dict[str, bool]:
    """Say of which concepts the interval is as narrow as asked; of none where nothing was asked."""
    from .audit import FEWEST_TO_STOP
    from .audit_answer import corrected, narrowness

    within = auditing.within
    if within is None:
        return {one.name: not one.strata for one in session.concepts}

    def is_done(one: AuditedConcept) -> bool:
        if not one.strata:
            return True  # nobody is asked about it
        if one.decided < FEWEST_TO_STOP:
            return False
        frequency = corrected(one)
        return narrowness(frequency.lower, frequency.upper) <= within

    return {one.name: is_done(one) for one in session.concepts}


def _number(auditing: Auditing) -> int:
    return _DEFAULT_ROWS if auditing.rows is None else auditing.rows
