"""The nouns of captions: which words of a sentence are nouns, by a part-of-speech tagger, and under which lemma.

Not here: counting concepts by words (the other modules of this package), concept files (`retrieval/concept_file.py`).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tailwag.errors import BadInput
from tailwag.progress import NoProgress, Progress

from ..concepts import Concept, ConceptSet, fold

if TYPE_CHECKING:
    from ...embed.corpus import Corpus

# Letters, held together by hyphens; or a mark that tells the tagger how the sentence is built.
_TOKEN = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*|\d+|[.,;:!?()]")
_POSSESSIVE = re.compile(r"['’`](?=s\b)", re.IGNORECASE)
# The tags of the British National Corpus that the tagger uses: common nouns without number, singular, plural; names.
NOUN_TAGS = frozenset({"NN0", "NN1", "NN2", "NP0"})
# The tagger's work grows with the square of a word's length, and no English noun is longer.
_LONGEST_WORD = 40
_LONGEST_SENTENCE = 200
_ROWS_A_STEP = 4096


@dataclass(frozen=True)
class NounCount:
    """One noun of a corpus's captions.

    Attributes
    ----------
    noun
        The lemma, spelled as most captions spell it.
    captions
        Rows whose caption has it, in any form.
    images
        Different images among them, by the sha256 of their bytes; a row that records none is an image of its own.
    """

    noun: str
    captions: int
    images: int


@dataclass(frozen=True)
class CorpusNouns:
    """The nouns of a corpus's captions, the commonest first.

    Attributes
    ----------
    corpus, corpus_version, rows
        What was read.
    at_least
        The least number of images for a noun to be listed.
    nouns
        Those that have as many.
    rarer
        How many other nouns there are.
    """

    corpus: str
    corpus_version: int
    rows: int
    at_least: int
    nouns: tuple[NounCount, ...]
    rarer: int

    def concepts(self) -> ConceptSet:
        """Give them as a concept set, named after the corpus.

        Raises
        ------
        BadInput
            When no noun is in as many images.
        """
        if not self.nouns:
            raise BadInput(
                f"no noun is in {self.at_least:,} images of corpus {self.corpus!r} ({self.rarer:,} are in fewer): ask "
                "for fewer images"
            )
        description = (
            f"Nouns in the captions of at least {self.at_least:,} images of corpus {self.corpus!r} "
            f"(version {self.corpus_version})"
        )
        concepts = tuple(Concept(each.noun) for each in self.nouns)
        return ConceptSet(f"{self.corpus}-nouns", concepts, description=description)

    def __str__(self) -> str:
        return (
            f"{len(self.nouns):,} nouns are in the captions of at least {self.at_least:,} images of corpus "
            f"{self.corpus!r} (version {self.corpus_version}, {self.rows:,} rows); {self.rarer:,} more are in fewer."
        )


def nouns_of(captions: Sequence[str]) -> list[list[tuple[str, str]]]:
    """Which words of each caption are nouns, and what are their lemmas?

    Every sentence is tagged as a whole by HanTa's English model (Wartena, "A probabilistic morphology model for German
    lemmatization", KONVENS 2019), a hidden Markov model. The lemma of a singular noun is the word in lower case; that
    of a plural is what two of three rules agree on: the tagger's, simplemma's and inflect's. A name keeps its case,
    unless it is a common noun that a headline has capitalised.

    Parameters
    ----------
    captions
        English sentences; in other languages most words come out as nouns.

    Returns
    -------
    list[list[tuple[str, str]]]
        For each caption its nouns in order, as (token, lemma). Words of one letter, of digits, and of more than 40
        letters are none.

    Examples
    --------
    >>> nouns_of(["Two children are painting a wooden fence", "PARKED CARS"])
    [[('children', 'child'), ('fence', 'fence')], [('cars', 'car')]]
    """
    known: dict[str, list[tuple[str, str]]] = {}
    for caption in captions:
        if caption not in known:
            known[caption] = [noun for sentence in _sentences(caption) for noun in _nouns_of_sentence(sentence)]
    return [list(known[caption]) for caption in captions]


def corpus_nouns(corpus: Corpus, at_least: int = 10, progress: Progress | None = None) -> CorpusNouns:
    """Which nouns do the captions of at least so many images have?

    The paper takes the concepts of its retrieval sets so: lemmas of nouns that are in at least ten images.

    Parameters
    ----------
    corpus
        The corpus at one version.
    at_least
        The least number of images.
    progress
        Advanced by rows.

    Returns
    -------
    CorpusNouns
        Two lemmas that `fold` makes equal are one noun.

    Raises
    ------
    BadInput
        When `at_least` is less than 1.
    """
    if at_least < 1:
        raise BadInput(f"a noun is in at least 1 image, and {at_least} was given")
    progress = progress or NoProgress()
    numbers: dict[str, int] = {}
    spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    found: list[np.ndarray] = []
    row = 0
    for captions, digests in _captions_and_digests(corpus):
        for nouns, digest in zip(nouns_of(captions), digests, strict=True):
            # The upper half of the numbers is for rows without a digest, so that none meets a digest's.
            image = int(digest[:15], 16) if digest else (1 << 62) + row
            lemmas = {fold(lemma): lemma for _, lemma in nouns}
            for key, lemma in lemmas.items():
                spellings[key][lemma] += 1
            pairs = [(numbers.setdefault(key, len(numbers)), image) for key in lemmas]
            found.append(np.array(pairs, dtype=np.int64).reshape(-1, 2))
            row += 1
        progress.advance(len(captions))
    pairs = np.concatenate(found) if found else np.zeros((0, 2), np.int64)
    captions_with = np.bincount(pairs[:, 0], minlength=len(numbers))
    images_with = np.bincount(np.unique(pairs, axis=0)[:, 0], minlength=len(numbers))
    counts = [
        NounCount(spellings[key].most_common(1)[0][0], int(captions_with[number]), int(images_with[number]))
        for key, number in numbers.items()
    ]
    listed = sorted((one for one in counts if one.images >= at_least), key=lambda one: (-one.images, one.noun))
    return CorpusNouns(corpus.name, corpus.version, row, at_least, tuple(listed), len(counts) - len(listed))


def _captions_and_digests(corpus: Corpus) -> Iterable[tuple[list[str], list[str]]]:
    captions, digests = corpus.column("caption"), corpus.column("sha256")
    for start in range(0, len(captions), _ROWS_A_STEP):
        yield captions.slice(start, _ROWS_A_STEP).to_pylist(), digests.slice(start, _ROWS_A_STEP).to_pylist()


def _sentences(caption: str) -> Iterable[list[str]]:
    """Cut a caption into tokens; capitals that stand for nothing are taken off, since they look like names."""
    tokens = _TOKEN.findall(_POSSESSIVE.sub(" ", unicodedata.normalize("NFKC", caption)))
    words = [token for token in tokens if token[0].isalpha() and len(token) > 3]
    if words and all(word[0].isupper() for word in words):
        tokens = [token.lower() for token in tokens]
    tokens = [token for token in tokens if len(token) <= _LONGEST_WORD and token not in ("s", "S")]
    for start in range(0, len(tokens), _LONGEST_SENTENCE):
        yield tokens[start : start + _LONGEST_SENTENCE]


def _nouns_of_sentence(tokens: list[str]) -> Iterable[tuple[str, str]]:
    for token, lemma, tag in english_tagger().tag_sent(tokens):
        if tag in NOUN_TAGS and len(token) > 1 and token[0].isalpha():
            yield token, _lemma(token, lemma, tag)


@lru_cache(maxsize=1 << 16)
def _lemma(token: str, lemma: str, tag: str) -> str:
    if tag == "NP0":
        tags = english_tagger().tag_word(token.lower())
        if not tags or tags[0][0] not in ("NN1", "NN2"):
            return token
        tag, lemma = tags[0][0], english_tagger().analyze(token.lower())[0]
    word = token.lower()
    if tag == "NN1":
        return word
    import simplemma

    votes = Counter([lemma.lower(), simplemma.lemmatize(word, "en").lower(), _inflector().singular_noun(word) or word])
    ((best, number),) = votes.most_common(1)
    return best if number > 1 else word


@cache
def english_tagger() -> Any:
    """Give HanTa's English tagger; loaded once in a process, a quarter of a second."""
    from pathlib import Path

    from HanTa import HanoverTagger

    # The whole path: given a bare name, the tagger unpickles a file of that name from the current folder first.
    return HanoverTagger.HanoverTagger(str(Path(HanoverTagger.__file__).with_name("morphmodel_en.pgz")))


@cache
def _inflector() -> Any:
    import inflect

    return inflect.engine()
