"""Write the pages of docs/ that are made from the code: the command reference. With --check, only compare."""

from __future__ import annotations

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
PAGE = Path(__file__).parent / "commands.md"


def sections(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield one section for a command, and one for each command below it."""
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from sections(below, click.Context(below, parent=context, info_name=name, **WIDTH))


WIDTH = {"terminal_width": 100, "max_content_width": 100}


def main() -> int:
    """Write the page, or say that it is not current."""
    text = "\n".join([HEAD, *sections(group, click.Context(group, info_name="tailwag", **WIDTH))])
    if "--check" in sys.argv:
        if PAGE.is_file() and PAGE.read_text("utf-8") == text:
            return 0
        print("docs/commands.md is not current: run `make docs`", file=sys.stderr)
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
