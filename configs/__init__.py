"""Data that ships with tailwag: concept sets as TOML. Reading them is `retrieval/concepts.py`'s work."""
