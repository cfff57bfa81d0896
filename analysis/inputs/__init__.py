"""What an analysis starts from: accuracies and frequencies of concepts, and the points that join them by name."""

from .joining import join, pool
from .known_names import KnownNames
from .points import Accuracies, Exclusion, Frequencies, Points
from .released import Release

__all__ = ["Accuracies", "Exclusion", "Frequencies", "KnownNames", "Points", "Release", "join", "pool"]
