"""How many captions a second are tokenized by open_clip's own code, and by tailwag's, to the same ids?

    python perf/tokenizing.py    writes perf/results/tokenizing.json

The captions are those of the photographs in the folder that TAILWAG_TEST_DATA names (default ../shared). As they are
they use few words, and remembering words would win more than it does on a web's worth of text. So they are also taken
several times, with words put in that never came before: the first half of one word and the second of another, in every
third with a number behind. Each word is replaced with a given chance, down to every one. In one set each fifth caption
also has an accent, a curly quote, an entity or another script, in turn; in the last set each has another script, so
that all must be cleaned.

Both begin every round with nothing remembered. One thread, in batches as a job makes them, seconds of a core, medians
of rounds that take turns; ids are compared before.
"""

from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import peers
import photograph_shards

from tailwag.embed.open_clip_loading import import_open_clip
from tailwag.embed.tokenizing import QuickTokenizer

ROUNDS, BATCH, COUNT = 5, 1024, 20_000
RESULT = Path(__file__).parent / "results" / "tokenizing.json"
TOUCHES = (" in a café", " that’s new", " &amp; more", " – €5", " 犬が走る", " & more")


def real_captions() -> list[str]:
    """Give the distinct captions of the photographs, in a fixed order that mixes the three sets."""
    found: dict[str, None] = {}
    for sample in photograph_shards.samples():
        told = json.loads(sample[".json"])
        found |= dict.fromkeys([told["caption"], *told.get("captions", [])])
    captions = list(found)
    random.Random(0).shuffle(captions)
    return captions


def with_new_words(captions: list[str], chance: float) -> list[str]:
    """Give `COUNT` captions, the given ones in turn, in which words are replaced by ones that never came before."""
    generator = random.Random(1)
    words = sorted({word for caption in captions for word in caption.split()})
    seen = set(words)

    def new_word() -> str:
        while True:
            first, second = generator.choices(words, k=2)
            made = first[: len(first) // 2 + 1] + second[len(second) // 2 :]
            if generator.randrange(3) == 0:
                made += str(generator.randrange(10_000))
            if made not in seen:
                seen.add(made)
                return made

    return [
        " ".join(
            new_word() if generator.random() < chance else word for word in captions[number % len(captions)].split()
        )
        for number in range(COUNT)
    ]


def touched(captions: list[str], every: int, touches: tuple[str, ...]) -> list[str]:
    """Put something beyond plain ASCII behind some of the captions, one kind after the other."""
    return [
        caption + touches[number // every % len(touches)] if number % every == 0 else caption
        for number, caption in enumerate(captions)
    ]


def in_batches(tokenize: Callable[[list[str]], Any], captions: list[str]) -> list[Any]:
    """Tokenize as a job does, batch by batch."""
    return [tokenize(captions[start : start + BATCH]) for start in range(0, len(captions), BATCH)]


def main() -> None:
    """Measure, print the table, write the JSON."""
    import torch

    torch.set_num_threads(1)
    measured_on = peers.machine()
    tokenizer = import_open_clip().SimpleTokenizer()
    special = dict(tokenizer.cache)

    def open_clips(captions: list[str]) -> list[Any]:
        fresh = copy.copy(tokenizer)
        fresh.cache = dict(special)
        return in_batches(fresh, captions)

    def ours(captions: list[str]) -> list[Any]:
        quick = QuickTokenizer.of(tokenizer)
        assert quick is not None
        return in_batches(lambda batch: torch.from_numpy(quick(batch)[0]), captions)

    real = real_captions()
    a_tenth = with_new_words(real, 0.1)
    sets = {
        "real captions, as they are": real,
        "one word in ten new": a_tenth,
        "and a fifth beyond plain ASCII": touched(a_tenth, 5, TOUCHES),
        "every word new": with_new_words(real, 1.0),
        "one word in ten new, all with another script": touched(a_tenth, 1, (TOUCHES[4],)),
    }
    told, rows = {}, []
    for name, captions in sets.items():
        same = [np.array_equal(a, b) for a, b in zip(open_clips(captions), ours(captions), strict=True)]
        assert all(same), f"{name}: other ids"
        ways = {"open_clip": partial(open_clips, captions), "tailwag": partial(ours, captions)}
        seconds = peers.interleaved(ways, ROUNDS, clock=time.process_time)
        rates = {way: len(captions) / taken for way, taken in seconds.items()}
        words = [word for caption in captions for word in caption.split()]
        told[name] = {
            "captions": len(captions),
            "words": len(words),
            "distinct_words": len(set(words)),
            "captions_per_second": {way: round(rate) for way, rate in rates.items()},
        }
        theirs, own = rates["open_clip"], rates["tailwag"]
        rows.append([name, f"{len(captions):,}", f"{theirs:,.0f}", f"{own:,.0f}", f"{own / theirs:.1f}"])
        print(" | ".join(rows[-1]), flush=True)
    headings = ["captions", "how many", "open_clip's, captions/s", "tailwag's, captions/s", "times as quick"]
    about = {"rounds": ROUNDS, "batch": BATCH, "machine": measured_on, "sets": told}
    RESULT.write_text(json.dumps(about | {"table": {"headings": headings, "rows": rows}}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
