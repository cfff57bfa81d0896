"""What an analysis starts from: accuracies and frequencies of concepts, and the points that join them by name."""

from .points import Accuracies, Exclusion, Frequencies, Points

__all__ = ["Accuracies", "Exclusion", "Frequencies", "Points"]
