"""What difference does each fault of the frequency paper's caption search make, on real captions?

    python perf/caption_faults.py        writes perf/results/caption_faults.json

The captions are those of the folder that TAILWAG_TEST_DATA names (default ../shared), the concepts all names of the
released counts. tailwag's count of words is taken, and one fault at a time is put into it; the last row is the paper's
whole search, as `tailwag captions --like-paper` remakes it. See docs/captions.md.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peers
import pyarrow as pa
from caption_count import real_captions, released_concepts

from tailwag.retrieval.captions import CaptionMatcher, forms, tokens
from tailwag.retrieval.captions.matching import words_of
from tailwag.retrieval.captions.paper_search import PaperIndex, index_words, is_noun, pieces_of


def counts(
    said: Callable[[str], set[str]], wanted: Callable[[str], list[str]], captions: list[str], names: list[str]
) -> np.ndarray:
    """Count captions that say all wanted words of each name, in any form."""
    rows: defaultdict[str, set[int]] = defaultdict(set)
    for row, caption in enumerate(captions):
        for token in said(caption):
            rows[token].add(row)
    found = []
    for name in names:
        own = [set[int]().union(*(rows.get(form, set()) for form in forms(word))) for word in wanted(name)]
        found.append(len(set.intersection(*own)) if own else 0)
    return np.array(found)


def main() -> None:
    """Count with one fault at a time, print a table, write the JSON."""
    captions, concepts = real_captions(), released_concepts()
    names = list(concepts.names)
    known = {token for caption in captions for token in tokens(caption)}

    def said(caption: str) -> set[str]:
        return set(tokens(caption))

    def kept(keep: Callable[[str], bool]) -> Callable[[str], set[str]]:
        def left(caption: str) -> set[str]:
            pieces = pieces_of(caption)
            fallen = {token for piece in pieces if not keep(piece) for token in tokens(piece)}
            return said(caption) - (fallen - {token for piece in pieces if keep(piece) for token in tokens(piece)})

        return left

    def last_parts(name: str) -> list[str]:
        return [words_of(word)[-1] for word in re.split(r"[_\s]+", name) if words_of(word)]

    variants: dict[str, tuple[Callable[[str], set[str]], Callable[[str], list[str]]]] = {
        "none": (said, words_of),
        "names keep their capitals, and are never found": (
            kept(lambda piece: all(word.islower() for word in index_words(piece))),
            words_of,
        ),
        "words that no caption has are left out": (
            said,
            lambda name: [word for word in words_of(name) if not known.isdisjoint(forms(word))],
        ),
        "numbers are left out": (
            said,
            lambda name: [word for word in words_of(name) if not any(one.isdigit() for one in word)],
        ),
        "of a hyphenated word only the last part is looked for": (said, last_parts),
        "only nouns are indexed": (kept(is_noun), words_of),
    }
    measured = {fault: counts(*variant, captions, names) for fault, variant in variants.items()}
    index = PaperIndex(names)
    index.add(captions)
    measured["all of them: the paper's search"] = index.counts()
    matches = CaptionMatcher(concepts).match(pa.array(captions))
    base, rows = measured["none"], []
    for fault, own in measured.items():
        more, less = int(np.argmax(own - base)), int(np.argmax(base - own))
        shown = [f"{names[one]} {base[one]:,} → {own[one]:,}" for one in (more, less) if own[one] != base[one]]
        changed = int(np.count_nonzero(own != base))
        rows.append([fault, f"{np.count_nonzero(own):,}", f"{changed:,}", f"{own.sum():,}", "; ".join(shown) or "–"])
    table = {"headings": ["fault", "concepts found", "counts changed", "sum of counts", "most changed"], "rows": rows}
    for row in (table["headings"], *table["rows"]):
        print(" | ".join(row))
    results: dict[str, Any] = {
        "machine": peers.machine(),
        "captions": len(captions),
        "concepts": len(names),
        "phrase": {"concepts_found": int(np.count_nonzero(matches.phrase)), "sum_of_counts": int(matches.phrase.sum())},
        "words": {"concepts_found": int(np.count_nonzero(matches.words)), "sum_of_counts": int(matches.words.sum())},
        "table": table,
    }
    path = Path(__file__).parent / "results" / "caption_faults.json"
    path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
