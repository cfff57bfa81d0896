"""Running a command in this process, where neither a fixture nor a process of its own will do."""

from __future__ import annotations

from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

from tailwag.main import main


def told(*arguments: object) -> tuple[object, str, str]:
    """Run a command; give status, stdout and stderr."""
    out, err, status = StringIO(), StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as ended:
            status = ended.code or 0
    return status, out.getvalue(), err.getvalue()
