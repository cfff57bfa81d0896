"""The page on which people label the rows of an audit: one picture after the other, yes, no or unsure, by key or touch.

Self-contained: no network, no file beside it. The labeller sees neither a row's stratum nor its similarity. Captions,
addresses and image bytes are untrusted: text is escaped, pictures are decoded and encoded anew. Not here: which rows
are shown (`audit_session.py`).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from tailwag.version import __version__

from ...embed.corpus import Corpus
from ...retrieval.result_tables import replaced_when_done
from ...retrieval.search import Hit
from ...retrieval.search_page import content_policy, picture_cards
from .audit_session import AuditSession, shuffled

PICTURE_SIDE = 512
_SHOWN = ("key", "caption", "url", "label", "width", "height")


def write_audit_page(corpus: Corpus, session: AuditSession, path: str | Path, command: str) -> int:
    """Write a page with every row that waits for an answer.

    Parameters
    ----------
    corpus
        The session's corpus at its version.
    session
        The audit.
    path
        The page.
    command
        What to run with the downloaded labels.

    Returns
    -------
    int
        How many pictures could not be shown; the page says why at each.

    Raises
    ------
    BadInput
        When the page cannot be written.
    """
    cards = [card for one in session.concepts for card in _cards(corpus, session, one.name)]
    with replaced_when_done(path) as unfinished:
        unfinished.write_text(_render(session, cards, command), "utf-8")
    return sum(card["picture"] is None for card in cards)


def _cards(corpus: Corpus, session: AuditSession, concept: str) -> list[dict[str, Any]]:
    one = session.concepts[session.names.index(concept)]
    rows = shuffled(one.pending, session.seed)
    if not rows:
        return []
    taken = corpus.take_offsets([row.offset for row in rows], _SHOWN).to_pylist()
    hits = [
        Hit(rank=rank, offset=row.offset, similarity=float("nan"), **{**fields, "label": None})
        for rank, (row, fields) in enumerate(zip(rows, taken, strict=True), start=1)
    ]
    return [
        {
            "hit": card.hit,
            "concept": concept,
            "picture": card.picture,
            "missing": card.missing,
            "alternative": card.alternative,
        }
        for card in picture_cards(corpus, hits, PICTURE_SIDE)
    ]


def _render(session: AuditSession, cards: list[dict[str, Any]], command: str) -> str:
    import jinja2

    names = list(dict.fromkeys(card["concept"] for card in cards)) or list(session.names)
    rows = [[one.name, [asdict(row) for row in one.pending]] for one in session.concepts]
    digest = hashlib.sha256(json.dumps([session.corpus_state, session.seed, rows]).encode()).hexdigest()[:24]
    word = re.sub(r"\W+", "-", names[0]).strip("-").lower() if len(names) == 1 else f"{len(names)}-concepts"
    # The script's own digest stands in the policy: what differs from page to page is put in before it is taken.
    source = resources.files(__package__ or "").joinpath("audit_page.html").read_text("utf-8")
    source = source.replace("{{ digest }}", digest).replace("{{ file_name }}", f"labels-{word or 'audit'}.csv")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(source).render(
        policy=content_policy(source),
        tailwag_version=__version__,
        title=names[0] if len(names) == 1 else f"one of {len(names)} concepts",
        several=len(names) > 1,
        session=session,
        cards=cards,
        command=command,
    )
