"""How many captions a second are counted for thousands of concepts, and how long do others take for their part of it?

    python perf/caption_count.py [ROWS]        writes perf/results/caption_count.json; 400000 captions by default

The captions are those of the folder that TAILWAG_TEST_DATA names (default ../shared): each made caption is one of them,
drawn at random, in which three words of ten are replaced by words drawn from all of them and one caption in ten ends in
a concept's name. The concepts are all names of the released counts. tailwag cuts the raw captions and counts by both
rules; the others only look for phrases, in text that was cut into tokens beforehand, untimed, and are held to
tailwag's counts of phrases. Seconds are those of a core, all threads together, so that a busy machine disturbs less.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import peers
import pyarrow as pa
import pyarrow.parquet as pq

from tailwag.embed.corpus import Corpus, corpus_schema, sampling_number, vector_column
from tailwag.embed.space import Space
from tailwag.retrieval.captions import CaptionMatcher, count_captions, tokens
from tailwag.retrieval.captions.matching import spellings, words_of
from tailwag.retrieval.concepts import Concept, ConceptSet, fold

REPEATS, BATCH, FEW = 3, 1 << 16, 2_000
DATA = Path(__file__).parent.parent / os.environ.get("TAILWAG_TEST_DATA", "../shared") / "data"


def released_concepts() -> ConceptSet:
    """Every name of the released counts that has a letter or digit, once."""
    paths = sorted((DATA / "paper" / "search_counts").glob("*.json"))
    names = {fold(name): name for path in paths for name in json.loads(path.read_text("utf-8"))}
    return ConceptSet("released", tuple(Concept(name) for name in names.values() if words_of(name)))


def real_captions() -> list[str]:
    """Every caption of the shared photographs."""
    real: list[str] = []
    for path in sorted((DATA / "photos").glob("*/*.parquet")):
        table = pq.read_table(path)
        real += table["caption"].to_pylist()
        if "captions" in table.column_names:
            real += [caption for several in table["captions"].to_pylist() for caption in several]
    return real


def made_captions(rows: int, names: Sequence[str]) -> list[str]:
    """Make captions out of the real ones; see the head of this file."""
    real = real_captions()
    words, rng, made = [word for caption in real for word in caption.split()], random.Random(0), []
    for _ in range(rows):
        own = [word if rng.random() < 0.7 else rng.choice(words) for word in rng.choice(real).split()]
        if rng.random() < 0.1:
            own.append(rng.choice(names).replace("_", " "))
        made.append(" ".join(own))
    return made


class Phrases:
    """All spellings of all names between spaces, and how the matches of one of them become counts."""

    def __init__(self, concepts: ConceptSet) -> None:
        self.patterns: list[str] = []
        owners: list[int] = []
        for position, concept in enumerate(concepts):
            for spelling in spellings(tokens(concept.name)):
                self.patterns.append(f" {' '.join(spelling)} ")
                owners.append(position)
        # One spelling may belong to several concepts: each distinct text is searched once, and counts for all of them.
        self.distinct = sorted(set(self.patterns))
        number = {text: place for place, text in enumerate(self.distinct)}
        self.pairs = np.array([(number[text], owner) for text, owner in zip(self.patterns, owners, strict=True)])
        self.concepts = len(concepts)

    def counts(self, rows: np.ndarray, found: np.ndarray) -> np.ndarray:
        """Count distinct pairs of row and concept."""
        order = np.argsort(self.pairs[:, 0], kind="stable")
        first = np.searchsorted(self.pairs[order, 0], found)
        several = np.searchsorted(self.pairs[order, 0], found, side="right") - first
        at = np.repeat(first - np.concatenate([[0], np.cumsum(several)[:-1]]), several) + np.arange(several.sum())
        keys = np.unique(np.repeat(rows, several) * self.concepts + self.pairs[order, 1][at])
        return np.bincount(keys % self.concepts, minlength=self.concepts)


def automaton_ways(lines: list[str], phrases: Phrases) -> dict[str, Callable[[], np.ndarray]]:
    """Both automata, over the captions of a batch joined into one text: faster for both than caption by caption."""
    import ahocorasick
    import ahocorasick_rs

    batches = []
    for start in range(0, len(lines), BATCH):
        batch = lines[start : start + BATCH]
        batches.append(("\n".join(batch), np.cumsum([len(line) + 1 for line in batch])))
    tree = ahocorasick.Automaton()
    for place, text in enumerate(phrases.distinct):
        tree.add_word(text, place)
    tree.make_automaton()
    rust = ahocorasick_rs.AhoCorasick(phrases.distinct)

    def by_pyahocorasick() -> np.ndarray:
        total = np.zeros(phrases.concepts, dtype=np.int64)
        for text, ends in batches:
            found = np.array(list(tree.iter(text)), dtype=np.int64).reshape(-1, 2)
            total += phrases.counts(np.searchsorted(ends, found[:, 0], side="right"), found[:, 1])
        return total

    def by_rust() -> np.ndarray:
        total = np.zeros(phrases.concepts, dtype=np.int64)
        for text, ends in batches:
            found = np.array(rust.find_matches_as_indexes(text, overlapping=True), dtype=np.int64).reshape(-1, 3)
            total += phrases.counts(np.searchsorted(ends, found[:, 1], side="right"), found[:, 0])
        return total

    return {"pyahocorasick, phrases alone": by_pyahocorasick, "ahocorasick_rs, phrases alone": by_rust}


def regular_expression(lines: list[str], phrases: Phrases) -> Callable[[], np.ndarray]:
    """Python's `re`: one alternation of all phrases, looked for at every space, the longest that begins there."""
    longest_first = sorted(phrases.distinct, key=len, reverse=True)
    number = {text: place for place, text in enumerate(phrases.distinct)}
    pattern = re.compile(f"(?=({'|'.join(map(re.escape, longest_first))}))")

    def run() -> np.ndarray:
        pairs = [(row, number[one]) for row, line in enumerate(lines) for one in pattern.findall(line)]
        found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        return phrases.counts(found[:, 0], found[:, 1])

    return run


def full_text(lines: list[str], phrases: Phrases, counts: np.ndarray, folder: Path) -> dict[str, Any]:
    """LanceDB's full-text index over the same tokens: a phrase query for each spelling."""
    import lance
    from lance.query import MatchQuery, PhraseQuery

    dataset = lance.write_dataset(pa.table({"caption": lines}), str(folder / "text.lance"))
    start = time.process_time()
    dataset.create_scalar_index(
        "caption",
        "INVERTED",
        with_position=True,
        base_tokenizer="whitespace",
        lower_case=False,
        stem=False,
        remove_stop_words=False,
        ascii_folding=False,
    )
    indexed = time.process_time() - start
    start = time.process_time()
    rows, found = [], []
    for place, text in enumerate(phrases.distinct):
        words = text.strip()
        query = PhraseQuery(words, "caption") if " " in words else MatchQuery(words, "caption")
        scanner = dataset.scanner(
            columns=["_rowid", "_score"], full_text_query=query, limit=len(lines), with_row_id=True
        )
        ids = scanner.to_table()["_rowid"].to_numpy()
        rows.append(ids.astype(np.int64))
        found.append(np.full(len(ids), place, dtype=np.int64))
    total = phrases.counts(np.concatenate(rows), np.concatenate(found))
    asked = time.process_time() - start
    wrong = int(np.count_nonzero(total != counts))
    return {
        "index_seconds": indexed,
        "query_seconds": asked,
        "queries": len(phrases.distinct),
        "counts_that_differ": wrong,
    }


def make_corpus(captions: list[str], folder: Path) -> Corpus:
    """Write captions into a corpus, a fragment every 50,000 rows; its vectors are short and all alike."""
    space = Space("made", "", "architecture", "weights", "{}", "tokenizer", 8)
    corpus, schema = Corpus.create(folder, "made", space), corpus_schema(space)
    for start in range(0, len(captions), 50_000):
        own = captions[start : start + 50_000]
        keys = [f"s/{number}" for number in range(start, start + len(own))]
        vectors = np.zeros((len(own), 8), dtype=np.float16)
        vectors[:, 0] = 1
        same = {"shard": "s", "url": "", "width": 640, "height": 480, "sha256": "", "label": None}
        columns: dict[str, Any] = {name: [value] * len(own) for name, value in same.items()}
        columns |= {"key": keys, "caption": own, "u": [sampling_number(key) for key in keys]}
        columns |= {side: vector_column(vectors) for side in ("image", "text")}
        corpus.append(pa.table({name: columns[name] for name in schema.names}, schema=schema))
    return corpus


def main() -> None:
    """Make the captions, measure, print a table, write the JSON."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 400_000
    machine = peers.machine()
    concepts = released_concepts()
    captions = made_captions(rows, concepts.names)
    start = time.process_time()
    matcher = CaptionMatcher(concepts)
    prepared = time.process_time() - start
    batches = [pa.array(captions[at : at + BATCH]) for at in range(0, rows, BATCH)]
    lines, phrases = [f" {' '.join(tokens(caption))} " for caption in captions], Phrases(concepts)

    def tailwag(keep: Any) -> tuple[np.ndarray, np.ndarray]:
        found = [matcher.match(batch, keep) for batch in batches]
        return np.sum([one.phrase for one in found], axis=0), np.sum([one.words for one in found], axis=0)

    phrase, words = tailwag(None)
    automata = automaton_ways(lines, phrases)
    few = regular_expression(lines[:FEW], phrases)
    for name, way in automata.items():
        if not np.array_equal(way(), phrase):
            raise SystemExit(f"{name} counts otherwise")
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(captions, Path(folder))
        ways: dict[str, Callable[[], Any]] = {
            "tailwag": lambda: tailwag(None),
            "tailwag, which rows kept": lambda: tailwag("words"),
            **automata,
            "tailwag, from a corpus on disk, which rows kept": lambda: count_captions(corpus, concepts),
        }
        taken = peers.interleaved(ways, REPEATS, clock=time.process_time)
        text_index = full_text(lines, phrases, phrase, Path(folder))
    of_few = peers.interleaved({"re": few}, REPEATS, clock=time.process_time)["re"]
    rates = {name: rows / seconds for name, seconds in taken.items()}
    rates["Python's re, phrases alone"] = FEW / of_few
    rates["LanceDB full-text index, phrases alone"] = rows / text_index["query_seconds"]
    base = rates["tailwag"]
    order = sorted(rates, key=lambda name: -rates[name])
    table = {
        "headings": ["way", "captions a second and core", "beside tailwag"],
        "rows": [[name, f"{float(f'{rates[name]:.3g}'):,.0f}", f"{rates[name] / base:.3g}"] for name in order],
    }
    for row in (table["headings"], *table["rows"]):
        print(f"{row[0]:<54}{row[1]:>28}{row[2]:>18}")
    print(f"index {text_index['index_seconds']:.1f} s; {text_index}")
    results = {
        "machine": machine,
        "more_versions": {name: version(name) for name in ("pyahocorasick", "ahocorasick_rs", "pyarrow", "simplemma")},
        "captions": rows,
        "bytes_a_caption": round(sum(len(one.encode()) for one in captions) / rows, 1),
        "concepts": len(concepts),
        "spellings": len(phrases.distinct),
        "matches": {"phrase": int(phrase.sum()), "words": int(words.sum())},
        "repeats": REPEATS,
        "seconds_to_prepare": round(prepared, 3),
        "captions_a_second_and_core": {name: round(rate) for name, rate in rates.items()},
        "re_captions": FEW,
        "full_text": {name: round(value, 3) for name, value in text_index.items()},
        "table": table,
    }
    if not sys.argv[1:]:
        path = Path(__file__).parent / "results" / "caption_count.json"
        path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
