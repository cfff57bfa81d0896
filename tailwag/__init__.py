"""tailwag: how many images in this pretraining set look like X?

The public names, imported on first use so that `import tailwag` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .errors import TailwagError

_PUBLIC = {
    "TailwagError": "tailwag.errors",
    "Corpus": "tailwag.embed.corpus",
    "Database": "tailwag.embed.database",
    "Space": "tailwag.embed.space",
    "Encoder": "tailwag.embed.encoder",
    "Concept": "tailwag.retrieval.concepts",
    "ConceptSet": "tailwag.retrieval.concepts",
    "load_concepts": "tailwag.retrieval.concepts",
    "PrototypeSet": "tailwag.retrieval.prototypes",
    "prototypes_from_texts": "tailwag.retrieval.prototypes",
    "prototypes_from_images": "tailwag.retrieval.prototypes",
    "CountQuery": "tailwag.retrieval.counting",
    "CountResult": "tailwag.retrieval.counting",
    "count": "tailwag.retrieval.counting",
    "count_captions": "tailwag.retrieval.captions",
    "joint_frequency": "tailwag.retrieval.captions",
    "search": "tailwag.retrieval.search",
    "estimate": "tailwag.retrieval.estimates",
    "Sketch": "tailwag.retrieval.estimates",
    "calibrate": "tailwag.analysis.calibration.calibrating",
}

__all__ = ["TailwagError", "__version__"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'tailwag' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
