"""Estimates as people read them and as JSON: headline, cells, one line a look.

Not here: sentences and arrow tables (`result.py`), drawing tables and writing files (`retrieval/result_tables.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..counting.result import format_share, format_threshold
from .looks import Within
from .result import Estimate, EstimateResult, format_confidence, rounded


def estimate_headline(result: EstimateResult) -> str:
    """Say once what all the estimates of a table hold for."""
    noun = {"image": "image", "text": "caption"}[result.side] + ("" if result.rows == 1 else "s")
    failed = f"; {result.failures:,} more samples could not be embedded" if result.failures else ""
    how = "counted exactly"
    if result.approximate.any():
        how = (
            f"estimated from a sample of {format_share(result.sampled / result.rows)} ({result.sampled:,} rows), "
            f"{format_confidence(result.confidence)} intervals,"
        )
    return (
        f"corpus '{result.corpus}' (version {result.corpus_version}, {result.space.title}): {result.rows:,} {noun}, "
        f"{how} in {result.seconds:.2f} s{failed}"
    )


def estimate_cells(results: list[Estimate]) -> tuple[list[str], list[list[str]]]:
    """Lay estimates out for people: headings and a row each; an exact count has no interval."""
    rows = []
    for one in results:
        cells = [f"{one.estimate:,}", "exact", "", format_share(one.estimate / one.rows if one.rows else 0.0)]
        if one.approximate:
            about, lower, upper = rounded(one.estimate, one.lower, one.upper, one.rows)
            cells = [f"about {about:,}", f"{lower:,}", f"{upper:,}", format_share(about / one.rows)]
        rows.append([one.concept, format_threshold(one.threshold), *cells])
    return ["concept", "threshold", "count", "from", "to", "share"], rows


def look_line(result: EstimateResult, within: Within | None) -> str:
    """Say in one line how far a growing sample has come."""
    where = f"sample of {format_share(result.rate)}"
    if len(result) == 1:
        about, lower, upper = rounded(result[0].estimate, result[0].lower, result[0].upper, result.rows)
        return f"{where}: about {about:,} ({lower:,} to {upper:,})"
    return f"{where}: {narrow_line(result, within)}" if within is not None else where


def narrow_line(result: EstimateResult, within: Within) -> str:
    """Say how many intervals are as narrow as wanted."""
    return f"{int(within.reached(result).sum()):,} of {len(result):,} intervals are within {within}"


def estimates_as_dict(result: EstimateResult, within: Within | None = None) -> dict[str, Any]:
    """Give a result as what JSON can hold: what was sampled once, then one entry a concept and threshold."""
    narrow = np.ones(result.estimates.shape, bool) if within is None else within.reached(result)
    return {
        "corpus": result.corpus,
        "corpus_version": result.corpus_version,
        "space": {"title": result.space.title, "fingerprint": result.space.fingerprint},
        "side": result.side,
        "control": result.control,
        "rows": result.rows,
        "sampled": result.sampled,
        "rate": result.rate,
        "failures": result.failures,
        "exact": not bool(result.approximate.any()),
        "confidence": result.confidence,
        "within": None if within is None else {"value": within.value, "relative": within.relative},
        "backend": result.backend,
        "seconds": round(result.seconds, 6),
        "estimates": [
            {
                "concept": one.concept,
                "recipe": one.recipe,
                "threshold": one.threshold,
                "threshold_source": one.threshold_source,
                "estimate": one.estimate,
                "lower": one.lower,
                "upper": one.upper,
                "approximate": one.approximate,
                "method": one.method,
                "narrow_enough": bool(narrow.flat[position]),
                "hits": one.hits,
            }
            for position, one in enumerate(result)
        ],
    }
