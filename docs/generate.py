"""Write what is made from code: docs/commands.md, the demo's output in the README, and the tables of measurements.

With --check, only compare.
"""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from tailwag.main import group

HEAD = """# Commands

Made by `make docs` from the commands' own help; edit that, not this page.

Every command exits with 0 when it is done, 1 after one line on stderr that says what was wrong, and 2 when it was
called wrongly. `tailwag --debug COMMAND` shows the traceback. Answers go to stdout, progress to stderr.
"""
DOCS = Path(__file__).parent
# Pages that hold tables of measurements.
MEASURED = (
    "performance",
    "captions",
    "joint",
    "comparing",
    "calibration",
    "prototypes",
    "thresholds",
    "closed-world",
    "auditing",
    "importing",
    "embedding",
)
README = DOCS.parent / "README.md"
FINDINGS = re.compile(r"(from docs/findings.json -->\n).*?(<!-- end of findings -->)", re.S)
OUTPUT_BEGINS, OUTPUT_ENDS = "from docs/demo-output.txt -->\n```text\n", "```\n<!-- end -->"


def sections(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield one section for a command, and one for each command below it."""
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from sections(below, click.Context(below, parent=context, info_name=name, **WIDTH))


WIDTH = {"terminal_width": 100, "max_content_width": 100}


def readme() -> str:
    """Give the README with the demo's output, and what the released data show, as `make figures` saw them last."""
    before, rest = README.read_text("utf-8").split(OUTPUT_BEGINS)
    _, after = rest.split(OUTPUT_ENDS)
    output = (DOCS / "demo-output.txt").read_text("utf-8")
    whole = before + OUTPUT_BEGINS + output + OUTPUT_ENDS + after
    return FINDINGS.sub(lambda found: found[1] + findings("readme-findings.md") + "\n" + found[2], whole)


def findings(page: str) -> str:
    """Give a page's template filled with what `docs/findings.py` found in the released data last."""
    return runpy.run_path(str(DOCS / "findings.py"))["render"](page)


def with_tables(page: Path) -> str:
    """Give a page with the tables that scripts in perf/ wrote last, where it asks for them."""

    def table(found: re.Match[str]) -> str:
        written = json.loads((DOCS.parent / "perf" / "results" / found[2]).read_text("utf-8"))["table"]
        rows = [written["headings"], ["---"] * len(written["headings"]), *written["rows"]]
        lines = "".join(f"| {' | '.join(row)} |\n" for row in rows)
        return f"{found[1]}\n{lines}\n{found[3]}"

    # Up to the first end: whatever lies beyond is the page's own.
    return re.sub(r"(<!-- from perf/results/(\S+) -->\n).*?(<!-- end -->)", table, page.read_text("utf-8"), flags=re.S)


def main() -> int:
    """Write the pages, or say which are not current."""
    reference = "\n".join([HEAD, *sections(group, click.Context(group, info_name="tailwag", **WIDTH))])
    stale = []
    measured = [DOCS / f"{name}.md" for name in MEASURED]
    for page, text in (
        (DOCS / "commands.md", reference),
        (README, readme()),
        (DOCS / "findings.md", findings("findings.md") + "\n"),
        *((page, with_tables(page)) for page in measured),
    ):
        if page.is_file() and page.read_text("utf-8") == text:
            continue
        if "--check" in sys.argv:
            stale.append(page.name)
        else:
            page.write_text(text, encoding="utf-8")
    if stale:
        print(f"not current: {', '.join(stale)}; run `make docs`", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
