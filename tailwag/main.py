"""The command group `tailwag`: finds each area's commands by name when one is asked for, and prints stated errors.

What a command does lives in its area; nothing here knows an area's inside. Only click is imported at the top, so that
`tailwag --help` answers at once.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

import click

from .errors import Caution, TailwagError
from .version import __version__

# The module and attribute of every command, in the order in which a newcomer meets them.
COMMANDS = {
    "demo": "tailwag.benchmarks.commands:demo",
    "world": "tailwag.benchmarks.world.commands:world",
    "embed": "tailwag.embed.commands:embed",
    "import": "tailwag.embed.import_command:import_vectors",
    "info": "tailwag.retrieval.commands:info",
    "doctor": "tailwag.retrieval.doctor_command:doctor",
    "compact": "tailwag.embed.upkeep_commands:compact",
    "tag": "tailwag.embed.upkeep_commands:tag",
    "index": "tailwag.retrieval.search_commands:index",
    "count": "tailwag.retrieval.commands:count",
    "calibrate": "tailwag.analysis.calibration.commands:calibrate",
    "thresholds": "tailwag.analysis.calibration.threshold_commands:thresholds",
    "closed-world": "tailwag.analysis.calibration.closed_world_commands:closed_world",
    "captions": "tailwag.retrieval.caption_commands:captions",
    "nouns": "tailwag.retrieval.noun_commands:nouns",
    "search": "tailwag.retrieval.search_commands:search",
    "evaluate": "tailwag.benchmarks.evaluate_command:evaluate",
    "fit": "tailwag.analysis.commands:fit",
    "compare": "tailwag.analysis.comparisons.commands:compare",
    "sketch": "tailwag.retrieval.estimate_commands:sketch",
    "verify": "tailwag.retrieval.record_commands:verify",
    "diff": "tailwag.retrieval.record_commands:diff",
}


class _NoPandas:
    """Finds no pandas."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Refuse pandas, and leave all else to other finders."""
        if name == "pandas":
            raise ModuleNotFoundError("pandas is spared", name=name)


def _spare_pandas() -> None:
    """Let pyarrow believe that there is no pandas: it looks when it makes its first array, and that takes a second.

    For this process only, where nobody hands pyarrow what is pandas's. Who asks pyarrow for a frame still gets one.
    """
    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, _NoPandas)
    try:
        import pyarrow as pa

        pa.array([0])
    finally:
        sys.meta_path.remove(_NoPandas)


class CommandGroup(click.Group):
    """A click group whose commands are imported when they are named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name every command, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module and return the command; None for a name that does not exist."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        return getattr(import_module(module), attribute)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, and suggest the nearest name for one that is misspelt."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], COMMANDS, n=1)
            if near:
                raise click.UsageError(f"No such command {args[0]!r}. Did you mean {near[0]!r}?", ctx) from error
            raise


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tailwag")
@click.option("--debug", is_flag=True, help="Show the traceback of a stated error.")
def group(debug: bool) -> None:
    """How many images in this pretraining set look like X?

    \b
    Start here:
      tailwag demo                                    a made world, counted and compared with its truth
      tailwag embed SHARDS --corpus NAME --model ...  your own images into a corpus
      tailwag count NAME "red panda" --threshold 0.27 how many look like it
    """


@contextmanager
def _cautions_in_one_line() -> Iterator[None]:
    """Print a `Caution` as errors are printed, and other warnings as Python does."""
    with warnings.catch_warnings():
        plain = warnings.showwarning

        def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, Caution):
                click.echo(f"tailwag: {message}", err=True)
            else:
                plain(message, category, *where, **more)

        warnings.showwarning = show
        yield


def _is_of_a_store(error: Exception) -> bool:
    """Say whether Lance failed to reach the object store that it reads and writes tables on."""
    return "LanceError(IO)" in str(error) and "Error " in str(error)


def _tell_of_the_store(error: Exception) -> NoReturn:
    first_line = import_module("tailwag.embed.database").first_line
    click.echo(
        f"tailwag: the database cannot be reached: {first_line(error)}; give the command again once it can", err=True
    )
    sys.exit(1)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; a stated error becomes one line on stderr and exit status 1."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = os.environ.get("TAILWAG_DEBUG") == "1" or "--debug" in given
    if given and not {"--help", "--version"} & set(given):
        _spare_pandas()
    try:
        with _cautions_in_one_line():
            group(arguments, prog_name="tailwag")
    except TailwagError as error:
        if debug:
            raise
        click.echo(f"tailwag: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        # A disk that is full, a folder that may not be written: the system says what and where.
        if not debug and _is_of_a_store(error):
            _tell_of_the_store(error)
        if debug or error.strerror is None:
            raise
        click.echo(f"tailwag: {error.filename or 'the system'}: {error.strerror}", err=True)
        sys.exit(1)
    except ValueError as error:
        if debug or not _is_of_a_store(error):
            raise
        _tell_of_the_store(error)
