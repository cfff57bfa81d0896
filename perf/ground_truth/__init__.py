"""Corpora whose every row is known, estimators of frequencies, and the score of one on the other: for `quality.py`."""
