"""The front door: quick, honest about mistakes, and every command shows an example."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

import tailwag
from tailwag.main import COMMANDS, group


def every_command(command: click.Command, name: tuple[str, ...] = ()):
    if name:
        yield name, command
    if isinstance(command, click.Group):
        for below in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), below)
            assert found is not None
            yield from every_command(found, (*name, below))


ALL = list(every_command(group))


@pytest.mark.parametrize(("name", "command"), ALL, ids=[" ".join(name) for name, _ in ALL])
def test_every_commands_help_has_an_example_that_names_it(name, command):
    told = CliRunner().invoke(group, [*name, "--help"])
    assert told.exit_code == 0, told.output
    assert "Example" in told.output
    assert f"tailwag {name[0]}" in told.output.split("Example", 1)[1]


def test_help_imports_neither_torch_nor_anything_slow():
    code = (
        "import sys\nfrom tailwag.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "slow = {'torch', 'numpy', 'pyarrow', 'lance', 'lancedb', 'open_clip', 'faiss', 'scipy', 'pydantic', 'rich'}\n"
        "print(sorted(slow & set(sys.modules)), file=sys.stderr)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stderr.strip() == "[]"
    for command in COMMANDS:
        assert f"  {command} " in told.stdout


def test_counting_imports_no_torch():
    code = (
        "import sys\nimport tailwag.embed.corpus, tailwag.embed.ledger, tailwag.retrieval.counting, "
        "tailwag.retrieval.search, tailwag.retrieval.concepts\n"
        "print(sorted({'torch', 'lancedb', 'open_clip', 'faiss'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_a_command_waits_for_no_pandas_and_frames_can_still_be_had(tmp_path):
    code = (
        "import sys\nfrom tailwag.main import main\n"
        f"try: main(['info', '--db', {str(tmp_path)!r}])\nexcept SystemExit: pass\n"
        "import lance, pyarrow\nprint('pandas' in sys.modules, file=sys.stderr)\n"
        "print(len(pyarrow.table({'a': [1, 2]}).to_pandas()), 'pandas' in sys.modules, file=sys.stderr)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stderr.splitlines() == ["False", "2 True"]


@pytest.mark.parametrize("name", sorted(tailwag._PUBLIC))
def test_public_names_are_there(name):
    assert getattr(tailwag, name) is getattr(import_module(tailwag._PUBLIC[name]), name)
    assert name in dir(tailwag)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = tailwag.nothing


def test_debug_shows_the_traceback(tmp_path):
    command = [sys.executable, "-m", "tailwag", "--debug", "info", "nothing", "--db", str(tmp_path)]
    assert "Traceback" in subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_version():
    assert CliRunner().invoke(group, ["--version"]).output == f"tailwag, version {tailwag.__version__}\n"
