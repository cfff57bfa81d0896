"""Worlds with known truth, zero-shot evaluation, the demo."""
