"""Concepts in captions: which words name a concept, and which captions say them. Not here: images."""
