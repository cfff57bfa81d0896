"""Frequencies beside frequencies: pretraining sets compared by name, and the shape of one long tail."""
