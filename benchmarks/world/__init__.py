"""A synthetic world whose truth is known."""
