"""What is kept of a count: its frequencies, its histograms, its certificate; and what follows from them later.

`save_counts` keeps a count, `rethreshold` answers new thresholds from it, `verify` holds it against its corpus,
`count_since` counts a newer version from it, `compare` puts two side by side. Imports no torch.
"""

from __future__ import annotations

from .certificate import Certificate
from .certificate_file import read_certificate, seal_of, write_certificate
from .comparison import Compared, Comparison, compare
from .rethreshold import Rethresholded, rethreshold
from .runs import Run
from .saved_counts import Estimates, SavedRun, find_runs, load_certificate, save_counts
from .verification import Verdict, verify
from .version_difference import Difference, count_since

__all__ = [
    "Certificate",
    "Compared",
    "Comparison",
    "Difference",
    "Estimates",
    "Rethresholded",
    "Run",
    "SavedRun",
    "Verdict",
    "compare",
    "count_since",
    "find_runs",
    "load_certificate",
    "read_certificate",
    "rethreshold",
    "save_counts",
    "seal_of",
    "verify",
    "write_certificate",
]
