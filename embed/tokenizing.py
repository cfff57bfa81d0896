"""Captions to token ids, to the id as open_clip's SimpleTokenizer gives them, many times as quick.

What cannot change a caption is left out, and the ids of a word are remembered. Not here: which tokens count
(`text_tower.py`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .open_clip_loading import import_open_clip

# open_clip cleans a text by ftfy.fix_text, html.unescape, str.split and str.lower. Of ASCII the first two change only
# control characters and what may be an entity; a carriage return becomes a line feed, and both are spaces to split.
_ASCII = r"\t\n\f\r -~"
# Beyond ASCII ftfy mends mojibake, width, ligatures, quotes, controls, surrogates and composition. Each pattern of
# mojibake in ftfy.badness asks for two neighbours beyond ASCII, for a C1 control, or for one of Œ, œ, Â and Ã. So a
# character that stands between ASCII ones and is none of these, no ligature, no combining mark and composed already,
# stays as it is; quotes become straight ones.
_ALONE = r"\xa0-\xc1\xc4-\u0131\u0134-\u0148\u014a-\u0151\u0154-\u017f\u2010-\u2027\u20ac\u2122"
_AS_IS = re.compile(rf"[{_ASCII}]*+(?:[{_ALONE}][{_ASCII}]++)*+[{_ALONE}]?+")
_QUOTES = [(one, "'") for one in "\u2018\u2019\u201a\u201b"] + [(one, '"') for one in "\u201c\u201d\u201e\u201f"]
# An ampersand before a space, or at the end, begins no entity.
_MAY_BE_ENTITY = re.compile("&[^ ]")
# About 50 MB when full. Longer words (addresses, sentences without spaces) hardly come twice.
_MOST_WORDS, _LONGEST_WORD = 1 << 18, 64
_NEVER = 1 << 62
_NEEDED = ("clean_fn", "reduction_fn", "all_special_ids", "pat", "byte_encoder", "bpe_ranks", "encoder", "decoder")


def lowered_as_is(text: str) -> str | None:
    """Give a text in lower case that cleaning would leave as it is but for spaces and quotes, else None.

    The words of what is given are those of open_clip's cleaned text.

    Examples
    --------
    >>> lowered_as_is("It’s a  Café")
    "it's a  café"
    >>> lowered_as_is("salt &amp; pepper") is None
    True
    """
    if not _AS_IS.fullmatch(text) or ("&" in text and _MAY_BE_ENTITY.search(text)):
        return None
    if not text.isascii():
        for curly, straight in _QUOTES:
            text = text.replace(curly, straight)
    return text.lower()


# Tried when a model is loaded: every character that is taken as it is, and what must not be taken so.
_TAKEN = [one for one in map(chr, [*range(0x180), *range(0x2010, 0x2028), 0x20AC, 0x2122]) if lowered_as_is(one)]
_EIGHTS = [_TAKEN[start : start + 8] for start in range(0, len(_TAKEN), 8)]
PROBES = (
    *(" ".join(f"a{one}b {one} {one}1" for one in eight if one != "&") for eight in _EIGHTS),
    "The dog's 2 “balls”, they'll've rolled…\r\nit’s 3:1!!! <b>50% off</b> #1 @home,\fQ & A &",
    "&lt;b&gt; A&B &amp;amp; &eacute; &#233; &#x1F415; &notit; a\x00b\x1b[31mc\x0bd\x7fe\x85f\x1cg",
    "Ã© â€œx” ﬁne ＷＩＤＥ e\u0301 œ. ÂŁ ŉ \ud83d\udc15 \ud83d 犬が走る. Собака. كلب 🐕\u200d🦺 İẞΣΑΣ ſ'ſ",
    "<start_of_text> <end_of_text> <Start_Of_Text>'s <|endoftext|> aaaa ababab !!!!!!!!!! " + "pneumono" * 9,
)


class QuickTokenizer:
    """Tokenizes as open_clip's SimpleTokenizer with its own cleaning does. Make one with `QuickTokenizer.of`.

    Spaces end every token. So a text's ids are those of its words, one behind the other, and a word's ids can be kept.

    Parameters
    ----------
    tokenizer
        open_clip's SimpleTokenizer, cleaning by "lower" and without a reduction mask.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._clean = tokenizer.clean_fn
        self._context = int(tokenizer.context_length)
        self._begin, self._end = tokenizer.all_special_ids
        self._words = _WordIds(tokenizer)

    @classmethod
    def of(cls, tokenizer: Any) -> QuickTokenizer | None:
        """Make one for open_clip's tokenizer.

        None where that is of another class, is set otherwise, or gives other ids for any of `PROBES`: not believed but
        tried, since a later open_clip or ftfy may clean otherwise.
        """
        known = import_open_clip().tokenizer
        if type(tokenizer) is not known.SimpleTokenizer or not all(hasattr(tokenizer, name) for name in _NEEDED):
            return None
        if tokenizer.clean_fn is not getattr(known, "_clean_lower", None) or tokenizer.reduction_fn is not None:
            return None
        if len(tokenizer.all_special_ids) != 2 or max(tokenizer.encoder.values()) >= 1 << 16:
            return None
        if tokenizer.context_length < 2:
            return None
        quick = cls(tokenizer)
        return quick if all(quick.encode(text) == tokenizer.encode(text) for text in PROBES) else None

    def encode(self, text: str) -> list[int]:
        """Give all ids of a text, without begin and end."""
        lowered = lowered_as_is(text)
        words = (self._clean(text) if lowered is None else lowered).split()
        return np.frombuffer(b"".join(map(self._words.__getitem__, words)), np.uint16).tolist()

    def __call__(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Tokenize texts; several threads may at once.

        Returns
        -------
        tuple[numpy.ndarray, numpy.ndarray]
            (n, context) int64 ids: the begin, the text's, the end, zeros. And (n,) bool: whether the text had more
            than fit and was cut; then the end stands in the last place.
        """
        room, words = self._context - 2, self._words
        rows: list[bytes] = []
        for text in texts:
            lowered = lowered_as_is(text)
            # Each word of what was taken as it is has a token. So more than one too many need not be looked at.
            found = self._clean(text).split() if lowered is None else lowered.split(None, room + 1)[: room + 1]
            rows.append(b"".join(map(words.__getitem__, found)))
        counts = np.fromiter(map(len, rows), np.int64, len(rows)) // 2
        cut = counts > room
        for row in np.flatnonzero(cut):
            rows[row] = rows[row][: 2 * room]
        counts = np.minimum(counts, room)
        ids = np.zeros((len(rows), self._context), np.int64)
        places = np.arange(self._context)
        ids[(places >= 1) & (places <= counts[:, None])] = np.frombuffer(b"".join(rows), np.uint16)
        ids[:, 0] = self._begin
        ids[np.arange(len(rows)), counts + 1] = self._end
        return ids, cut


class _WordIds(dict[str, bytes]):
    """The ids of words in lower case as bytes of uint16: made when asked for, all forgotten when there are too many.

    open_clip's own cache forgets nothing, so a job of days would fill the memory with it; it is not used.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._pieces = tokenizer.pat.findall
        self._bytes: dict[int, str] = tokenizer.byte_encoder
        self._ranks: dict[tuple[str, str], int] = tokenizer.bpe_ranks
        self._ids = {symbol: number.to_bytes(2, sys.byteorder) for symbol, number in tokenizer.encoder.items()}
        self._special = frozenset(tokenizer.decoder[number] for number in tokenizer.all_special_ids)

    def __missing__(self, word: str) -> bytes:
        # A piece cut out and asked for alone is one piece again: the pattern looks at nothing around it.
        pieces: list[str] = [word] if word.isascii() and word.isalpha() else self._pieces(word)
        made = self._merged(word) if pieces == [word] else b"".join([self[piece] for piece in pieces])
        if len(word) <= _LONGEST_WORD:
            if len(self) >= _MOST_WORDS:
                self.clear()
            self[word] = made
        return made

    def _merged(self, piece: str) -> bytes:
        """Byte-pair encoding (Sennrich et al. 2016) of a piece: in each round the pair of least rank, all of it."""
        symbols = [self._bytes[byte] for byte in piece.encode()]
        if piece[0] == "<" and "".join(symbols) in self._special:
            return self._ids["".join(symbols)]
        symbols[-1] += "</w>"
        ranks = self._ranks
        found = [ranks.get(pair, _NEVER) for pair in pairwise(symbols)]
        while found and (least := min(found)) < _NEVER:
            while least in found:  # from the left; no pair that a merge makes is this one again
                at = found.index(least)
                symbols[at] += symbols.pop(at + 1)
                del found[at]
                if at:
                    found[at - 1] = ranks.get((symbols[at - 1], symbols[at]), _NEVER)
                if at < len(found):
                    found[at] = ranks.get((symbols[at], symbols[at + 1]), _NEVER)
        return b"".join([self._ids[symbol] for symbol in symbols])
