"""Concepts in captions: which words name a concept, which captions say them, and which images they meet.

`count_captions(corpus, concepts)` is the door; `joint_frequency` puts images beside what it found.
"""

from __future__ import annotations

from .counting import count_captions
from .inflection import forms
from .joint import JointCount, JointCounts, joint_frequency
from .matching import CaptionMatcher, Matches, Rule
from .misalignment import Misalignment
from .nouns import corpus_nouns, nouns_of
from .result import CaptionCount, CaptionCounts
from .words import tokens

__all__ = [
    "CaptionCount",
    "CaptionCounts",
    "CaptionMatcher",
    "JointCount",
    "JointCounts",
    "Matches",
    "Misalignment",
    "Rule",
    "corpus_nouns",
    "count_captions",
    "forms",
    "joint_frequency",
    "nouns_of",
    "tokens",
]
