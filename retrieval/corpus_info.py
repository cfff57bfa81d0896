"""What there is to know of a corpus without asking it anything: rows, space, failures, shards, indices, size.

Not here: printing it (`commands.py`).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Any

from tailwag.errors import NotFound

from ..embed.corpus import Corpus
from ..embed.database import Database
from ..embed.ledger import JobRecord, Ledger
from .counting.backends import describe_backend
from .index_manifest import describe_indices


def list_corpora(database: Database) -> list[dict[str, Any]]:
    """Which corpora does a database hold?

    Returns
    -------
    list[dict]
        corpus, corpus_version, rows, failures, and the title and fingerprint of the space.

    Raises
    ------
    NotFound
        When the database does not exist: no folder, or nothing on the object store.
    """
    if not database.exists():
        raise NotFound(f"there is no database {database.uri}: make one with `tailwag embed`, or pass --db")
    listed = []
    for name in database.corpora():
        corpus = Corpus.open(database, name)
        listed.append(
            {
                "corpus": name,
                "corpus_version": corpus.version,
                "rows": len(corpus),
                "failures": Ledger(database, name).failure_count(),
                "space": {"title": corpus.space.title, "fingerprint": corpus.space.fingerprint},
            }
        )
    return listed


def describe_corpus(corpus: Corpus) -> dict[str, Any]:
    """What does one corpus hold, in which space, and what failed?

    Returns
    -------
    dict
        corpus, corpus_version, rows, space (with its preprocessing and tokenizer), failures by reason, shards that are
        done, siblings (corpora that embedded some of the same shards), fragments, versions and which have tags, the
        last job, bytes on disk (None on an object store), what counts it here, indices.
    """
    ledger = Ledger(corpus.database, corpus.name)
    space = corpus.space
    reasons = Counter(ledger.failures().column("reason").to_pylist())
    versions, jobs = corpus.versions(), ledger.jobs()
    return {
        "corpus": corpus.name,
        "database": corpus.database.uri,
        "corpus_version": corpus.version,
        "rows": len(corpus),
        "space": {
            "title": space.title,
            "fingerprint": space.fingerprint,
            "dimension": space.dimension,
            "preprocessing": _parsed(space.preprocessing),
            "tokenizer": space.tokenizer,
        },
        "failures": {"total": reasons.total(), "reasons": dict(reasons.most_common())},
        "shards_done": len(ledger.records()),
        "siblings": _siblings(corpus),
        "fragments": len(corpus.fragments()),
        "versions": len(versions),
        "tags": {tag: number for number, _, tags in versions for tag in tags},
        "last_job": _job_as_dict(jobs[-1]) if jobs else None,
        "bytes": _bytes_on_disk(corpus),
        "counting_backend": describe_backend(),
        "indices": [asdict(index) for index in describe_indices(corpus)],
    }


def corpus_lines(described: dict[str, Any]) -> list[str]:
    """Lay out what `describe_corpus` found, a line a fact."""
    space, failures = described["space"], described["failures"]
    size = described["bytes"]
    lines = [
        f"corpus         {described['corpus']} in {described['database']}, version {described['corpus_version']}",
        f"rows           {described['rows']:,}",
        f"space          {space['title']}, {space['dimension']} dimensions, fingerprint {space['fingerprint']}",
        f"preprocessing  {_in_words(space['preprocessing'])}",
        f"tokenizer      {space['tokenizer']}",
        f"shards done    {described['shards_done']:,}",
        f"fragments      {described['fragments']:,}",
        f"versions       {described['versions']:,}" + _tags_in_words(described["tags"]),
        f"on disk        {f'{size / 1e6:,.1f} MB' if size is not None else 'unknown on an object store'}",
        f"counted by     {described['counting_backend']}",
        f"failures       {failures['total']:,}"
        + (f" (listed in {described['corpus']}.failures)" if failures["total"] else ""),
    ]
    lines += [f"  {count:>12,}  {reason}" for reason, count in failures["reasons"].items()]
    if described["siblings"]:
        lines.append(f"same pairs     in {', '.join(described['siblings'])}")
    if described["last_job"] is not None:
        lines.append(f"last job       {_job_in_words(described['last_job'])}")
    indices = described["indices"]
    lines += [f"index          {_index_in_words(index)}" for index in indices]
    return lines if indices else [*lines, "index          none; search compares every row"]


def _siblings(corpus: Corpus) -> list[str]:
    """Name the corpora of the database that embedded some of the same shards, with whatever model."""

    def shards(name: str) -> set[tuple[str, str]]:
        return {(each.shard, each.fingerprint) for each in Ledger(corpus.database, name).records().values()}

    mine = shards(corpus.name)
    others = [name for name in corpus.database.corpora() if name != corpus.name] if mine else []
    return [name for name in others if mine & shards(name)]


def _tags_in_words(tags: dict[str, int]) -> str:
    return f" (tags: {', '.join(f'{tag} is {number}' for tag, number in tags.items())})" if tags else ""


def _job_as_dict(job: JobRecord) -> dict[str, Any]:
    rate = job.samples / job.seconds if job.seconds else 0.0
    return {**asdict(job), "started": job.started.isoformat(), "samples_per_second": rate}


def _job_in_words(job: dict[str, Any]) -> str:
    many = f", {job['workers']} workers" if job["workers"] > 1 else ""
    return (
        f"{job['started'][:16].replace('T', ' ')} UTC, {job['samples']:,} samples ({job['failures']:,} failures) in "
        f"{job['seconds']:,.0f} s, {job['samples_per_second']:,.0f}/s (engine {job['engine']}, {job['device']}{many})"
    )


def _bytes_on_disk(corpus: Corpus) -> int | None:
    if not corpus.database.is_local:
        return None
    folder = corpus.database.folder / f"{corpus.name}.lance"
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _parsed(preprocessing: str) -> Any:
    """Read open_clip's preprocessing; a space made by hand may say it in words."""
    try:
        return json.loads(preprocessing)
    except ValueError:
        return preprocessing


def _in_words(preprocessing: Any) -> str:
    if not isinstance(preprocessing, dict):
        return str(preprocessing)
    return ", ".join(f"{key} {json.dumps(value)}" for key, value in preprocessing.items())


def _index_in_words(index: dict[str, Any]) -> str:
    if not index["current"]:
        return f"{index['side']}: not usable, {index['problem']}"
    return (
        f"{index['side']}: {index['kind']}, current, {index['bytes'] / 1e6:,.1f} MB, finds "
        f"{index['recall']:.1%} of the nearest {index['recall_k']}"
    )
