"""Which counting backends run on this machine: those that tests can hold to the reference."""

from tailwag.retrieval.counting.backends import BACKENDS, why_not

RUNNING = sorted(name for name in BACKENDS if why_not(name) is None)
