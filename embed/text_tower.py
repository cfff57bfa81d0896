"""The text half of a model: tokens, how many of them count, which texts were cut, and no work on padding.

Not here: loading (`models.py`), batches and devices (`encoder.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .tokenizing import QuickTokenizer

if TYPE_CHECKING:
    import torch

# Lengths are rounded up to these steps: few shapes to compile and to plan for.
_STEP = 8
# How far a coordinate of a unit vector may move when padding is left away; float32 sums in another order move it less.
_SAME = 2e-6


@dataclass(frozen=True)
class Tokens:
    """Texts as a model takes them.

    Attributes
    ----------
    ids
        (n, context) int64 tensor on the CPU.
    lengths
        (n,) int64: how many of a text's tokens its vector depends on.
    cut
        (n,) bool: whether the text had more tokens than the context holds.
    """

    ids: torch.Tensor
    lengths: np.ndarray
    cut: np.ndarray

    def take(self, rows: np.ndarray) -> Tokens:
        """Give some of the texts, in the order of `rows`."""
        import torch

        return Tokens(self.ids[torch.from_numpy(rows)], self.lengths[rows], self.cut[rows])

    @classmethod
    def joined(cls, parts: Sequence[Tokens]) -> Tokens:
        """Put texts one behind the other; there must be a part, which may be empty."""
        import torch

        return cls(
            torch.cat([part.ids for part in parts]),
            np.concatenate([part.lengths for part in parts]),
            np.concatenate([part.cut for part in parts]),
        )


class TextTower:
    """Tokenizes and encodes texts, leaving away padding where the vectors stay the same.

    In a causal transformer whose vector is read at the end-of-text token, nothing behind that token reaches it. So the
    columns behind the longest text of a batch can go. Whether a model is of that kind is not believed but tried when it
    is made: texts of several lengths must give the same vectors both ways, or padding stays.

    Parameters
    ----------
    network
        open_clip's model, on the CPU.
    tokenizer
        open_clip's.
    probes
        Texts to try on, of several lengths: the first one empty, the last one too long for any context.

    Attributes
    ----------
    trims
        Whether padding is left away.
    quick
        Tokenizes instead of `tokenizer` where that is of the known kind and both gave the same when tried; else None.
    """

    def __init__(self, network: Any, tokenizer: Any, probes: Sequence[str]) -> None:
        self._network = network
        self._tokenizer = tokenizer
        self._context = int(tokenizer.context_length)
        self._padding = int(tokenizer(["", ""])[0].mode().values)  # almost all of an empty text is padding
        self._tells_cuts = self._is_cut_seen(probes)
        self.quick = self._find_quick(probes)
        self.trims = self._may_trim(probes)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Tokenize texts; those that do not fit into the context are cut by the model's own tokenizer."""
        import torch

        if not len(texts):
            return Tokens(torch.zeros((0, self._context), dtype=torch.int64), np.zeros(0, np.int64), np.zeros(0, bool))
        ids, cut = self._tokens(list(texts)) if self.quick is None else self._quick_tokens(self.quick, texts)
        return Tokens(ids, self._lengths(ids), cut)

    def _quick_tokens(self, quick: QuickTokenizer, texts: Sequence[str]) -> tuple[Any, np.ndarray]:
        import torch

        ids, cut = quick(texts)
        return torch.from_numpy(ids), cut

    def _find_quick(self, probes: Sequence[str]) -> QuickTokenizer | None:
        """Take a quicker tokenizer if there is one and it cuts the probes as the model's own does."""
        quick = QuickTokenizer.of(self._tokenizer) if self._tells_cuts else None
        if quick is None:
            return None
        (ids, cut), (quick_ids, quick_cut) = self._tokens(list(probes)), self._quick_tokens(quick, probes)
        return quick if bool((ids == quick_ids).all()) and np.array_equal(cut, quick_cut) else None

    def _tokens(self, texts: list[str]) -> tuple[Any, np.ndarray]:
        if not self._tells_cuts:
            ids = self._tokenizer(texts)
            # An upper bound: a text that fills the context exactly counts as cut.
            return ids, (ids[:, : self._context - 1] != self._padding).all(dim=1).numpy()
        # A text that is not cut leaves the last of one place more than the context holds empty.
        wide = self._tokenizer(texts, context_length=self._context + 1)
        cut = (wide[:, -1] != self._padding).numpy()
        ids = wide[:, :-1].contiguous()
        if cut.any():
            ids[np.flatnonzero(cut)] = self._tokenizer([texts[row] for row in np.flatnonzero(cut)])
        return ids, cut

    def _is_cut_seen(self, probes: Sequence[str]) -> bool:
        self._tells_cuts = True
        ids, cut = self._tokens(list(probes))
        return bool((ids == self._tokenizer(list(probes))).all()) and not cut[0] and bool(cut[-1])

    def _lengths(self, ids: Any) -> np.ndarray:
        return self._ends(ids) if self.trims else np.full(len(ids), self._context)

    def _ends(self, ids: Any) -> np.ndarray:
        """Count each text's tokens up to and with its end."""
        if self._network.text_pool_type == "eos":
            return (ids == self._network.text_eos_id).int().argmax(dim=1).numpy() + 1
        return ids.argmax(dim=1).numpy() + 1

    def encode(self, ids: torch.Tensor, longest: int) -> torch.Tensor:
        """Encode tokens.

        Parameters
        ----------
        ids
            (n, context) int64, where the model is.
        longest
            The greatest of their `Tokens.lengths`.

        Returns
        -------
        torch.Tensor
            (n, dimension), not normalised.
        """
        if not self.trims:
            return self._network.encode_text(ids)
        return self._encode_trimmed(ids, longest)

    def _encode_trimmed(self, ids: Any, longest: int) -> Any:
        """What open_clip.CLIP.encode_text does, with tokens, positions and mask as short as the longest text."""
        from open_clip.transformer import text_global_pool

        network, length = self._network, min(-(-longest // _STEP) * _STEP, self._context)
        ids = ids[:, :length]
        kind = network.transformer.get_cast_dtype()
        hidden = network.token_embedding(ids).to(kind) + network.positional_embedding[:length].to(kind)
        hidden = network.transformer(hidden, attn_mask=network.attn_mask[:length, :length])
        hidden = network.ln_final(hidden)
        pooled = text_global_pool(hidden, ids, network.text_pool_type, eos_token_id=network.text_eos_id)
        projection = network.text_projection
        if projection is None:
            return pooled
        return projection(pooled) if callable(projection) else pooled @ projection

    def _may_trim(self, probes: Sequence[str]) -> bool:
        import torch

        needed = ("token_embedding", "positional_embedding", "transformer", "attn_mask", "ln_final", "text_eos_id")
        if not all(hasattr(self._network, name) for name in needed) or self._network.attn_mask is None:
            return False
        if getattr(self._network, "text_pool_type", None) not in ("argmax", "eos"):
            return False
        ids, _ = self._tokens(list(probes))
        with torch.inference_mode():
            whole = torch.nn.functional.normalize(self._network.encode_text(ids), dim=-1)
            for row, end in enumerate(self._ends(ids)):
                alone = self._encode_trimmed(ids[row : row + 1], int(end))
                if (torch.nn.functional.normalize(alone, dim=-1)[0] - whole[row]).abs().max() > _SAME:
                    return False
        return True
