"""The report as one HTML page: self-contained, with plotly.js inside it, and nothing asked of any network.

Names come from other people's files: HTML is escaped by the template, JSON in a script here. Not here: what the page
says (`parts.py`).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from tailwag.errors import NotFound
from tailwag.version import __version__

from .contents import Report

# What could end a script, or a line of one, is written as JSON's own escapes, which mean the same.
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def render_page(report: Report) -> str:
    """Make the page's HTML.

    Parameters
    ----------
    report
        What it shows.

    Returns
    -------
    str
        A document whose content security policy allows exactly its own two scripts, by their digests.

    Raises
    ------
    NotFound
        When plotly is not installed as it should be.
    """
    import jinja2

    source = resources.files(__package__ or "").joinpath("fit_report.html").read_text("utf-8")
    plotly = plotly_script()
    own = re.findall(r'<script>\n("use strict";.*?)</script>', source, re.DOTALL)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(source).render(
        policy=_policy(plotly, "\n" + own[0]),
        version=__version__,
        title=report.title,
        subtitle=report.subtitle,
        models=report.models,
        drawings=report.drawings,
        numbers=report.numbers,
        numbers_note=report.numbers_note,
        exclusions=report.exclusions,
        exclusions_note=report.exclusions_note,
        command=report.command,
        configuration=report.configuration,
        plots=json_for_script(
            {identity: {"data": plot.data, "layout": plot.layout} for identity, plot in report.plots.items()}
        ),
        plotly=plotly,
    )


def json_for_script(value: object) -> str:
    r"""Write JSON that may stand inside a ``<script>``: no text in it can end the element.

    Parameters
    ----------
    value
        What JSON can hold, without nan or infinity.

    Returns
    -------
    str
        ASCII.

    Examples
    --------
    >>> json_for_script(["</script>"])
    '["\\u003c/script\\u003e"]'
    """
    return json.dumps(value, separators=(",", ":"), allow_nan=False).translate(_ESCAPES)


def plotly_script() -> str:
    """Give plotly.js as the installed package ships it, found without importing the package.

    Raises
    ------
    NotFound
        When it is not there.
    """
    found = find_spec("plotly")
    path = Path(found.origin).parent / "package_data" / "plotly.min.js" if found and found.origin else None
    if path is None or not path.is_file():
        raise NotFound("plotly.js is not installed: install plotly, which ships it")
    # Nothing in a minified script of plotly's ends a script element; should a version do so, its digest is that
    # of what stands in the page.
    return path.read_text("utf-8").replace("</script", "<\\/script").strip()


def _policy(*scripts: str) -> str:
    allowed = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    # plotly.js writes styles of its own, and makes pictures of plots as blobs for who saves one.
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
