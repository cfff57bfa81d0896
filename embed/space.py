"""The identity of an embedding space, and the refusal to mix two of them.

Not here: loading a model and finding out its space (`encoder.py`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields

from tailwag.errors import BadInput, SpaceMismatch

# Names by which people find the model again. They are kept, shown, and not compared: the same weights in another folder
# make the same vectors.
_NAMES = ("model", "pretrained")
_UNVERIFIED = "unverified"


@dataclass(frozen=True)
class Space:
    """What makes two vectors comparable.

    Attributes
    ----------
    model
        The model as one names it to open_clip: ``ViT-B-32``, ``hf-hub:…``, ``local-dir:…``; or ``tailwag:world``.
    pretrained
        open_clip's tag of the weights (``laion2b_s34b_b79k``); empty where the model's name says it all.
    architecture
        sha256 of open_clip's model configuration and the activation really in use. It is part of the identity since the
        same weights run with another activation (``ViT-B-32`` and ``ViT-B-32-quickgelu``) make other vectors.
    weights
        sha256 over every tensor's name, shape and float32 values, so that the file format does not matter.
    preprocessing
        open_clip's own image preprocessing as canonical JSON: size, mode, mean, standard deviation, interpolation.
    tokenizer
        Class, vocabulary size and context length of the tokenizer.
    dimension
        Length of a vector.
    """

    model: str
    pretrained: str
    architecture: str
    weights: str
    preprocessing: str
    tokenizer: str
    dimension: int

    @classmethod
    def by_name(cls, model: str, pretrained: str | None, dimension: int) -> Space:
        """Make the space of vectors of which nothing is known but who is said to have made them.

        It is the same as another one only where that was made of the same names. `Encoder.for_space` lets the model of
        that name be asked in it, and says that nothing vouches for it.
        """
        model = model if ":" in model else model.replace("/", "-")  # ViT-B/32, as the papers write it
        name = f"{_UNVERIFIED} {model}/{pretrained or ''}"
        return cls(model, pretrained or "", _UNVERIFIED, name, _UNVERIFIED, _UNVERIFIED, dimension)

    @property
    def is_verified(self) -> bool:
        """Whether the model itself was at hand when the space was recorded, rather than its name alone."""
        return self.architecture != _UNVERIFIED

    @property
    def identity(self) -> dict[str, str | int]:
        """Everything that is compared."""
        return {key: value for key, value in asdict(self).items() if key not in _NAMES}

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that stand for the identity."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def title(self) -> str:
        """The model as a person would say it: ``ViT-B-32/laion2b_s34b_b79k``."""
        return f"{self.model}/{self.pretrained}" if self.pretrained else self.model

    @property
    def options(self) -> str:
        """The options with which a command names this model."""
        return f"--model {self.model}" + (f" --pretrained {self.pretrained}" if self.pretrained else "")

    def to_json(self) -> str:
        """Write all fields as JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Space:
        """Read what `to_json` wrote.

        Raises
        ------
        BadInput
            When it is not a space's JSON.
        """
        try:
            values = json.loads(text)
            return cls(**{field.name: values[field.name] for field in fields(cls)})
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"not the record of an embedding space ({error}): {str(text)[:80]!r}") from error

    def require_same(self, other: Space, *, here: str, there: str, remedy: str) -> None:
        """Refuse to go on when `other` is a different space.

        Parameters
        ----------
        other
            The space that met this one.
        here, there
            What holds this space and what the other, for the message: ``"corpus 'cc3m' holds"``, ``"the query uses"``.
        remedy
            What to do about it.

        Raises
        ------
        SpaceMismatch
            Naming both spaces and what differs between them.
        """
        mine, theirs = self.identity, other.identity
        different = [key for key in mine if mine[key] != theirs[key]]
        if different:
            raise SpaceMismatch(
                f"{here} vectors of {self.title} (space {self.fingerprint}), {there} {other.title} "
                f"(space {other.fingerprint}); they differ in {', '.join(different)}: {remedy}"
            )
