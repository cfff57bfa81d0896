"""Taking in vectors that somebody made already: one module a layout, and what they share. No model, no GPU."""
