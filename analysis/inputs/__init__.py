"""What an analysis starts from: accuracies and frequencies of concepts, and the points that join them by name."""

from .count_tables import Choice, saved_frequencies
from .joining import join, pool
from .known_names import KnownNames
from .points import Accuracies, Exclusion, Frequencies, Points
from .reading import read_accuracies, read_frequencies
from .released import Release

__all__ = [
    "Accuracies",
    "Choice",
    "Exclusion",
    "Frequencies",
    "KnownNames",
    "Points",
    "Release",
    "join",
    "pool",
    "read_accuracies",
    "read_frequencies",
    "saved_frequencies",
]
