"""Concepts in captions: which words name a concept, and which captions say them. Not here: images.

`count_captions(corpus, concepts)` is the door.
"""

from __future__ import annotations

from .counting import count_captions
from .inflection import forms
from .matching import CaptionMatcher, Matches, Rule
from .result import CaptionCount, CaptionCounts
from .words import tokens

__all__ = ["CaptionCount", "CaptionCounts", "CaptionMatcher", "Matches", "Rule", "count_captions", "forms", "tokens"]
