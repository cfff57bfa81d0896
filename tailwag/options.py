"""Options that several commands share, said once. Only click is imported."""

from __future__ import annotations

import click

database_option = click.option(
    "--db",
    "database",
    envvar="TAILWAG_DB",
    default="./tailwag-db",
    show_default=True,
    show_envvar=True,
    help="LanceDB database: a folder, or an object store's URI.",
)

version_option = click.option(
    "--version", "version", default=None, help="Version number or tag of the corpus.  [default: the newest]"
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")

device_option = click.option(
    "--device", default=None, help="Where the model runs: cpu, cuda, cuda:1.  [default: cuda where found, else cpu]"
)

# The corpus's space records both; they are passed when the folder of a local-dir: model has moved.
query_model_options = [
    click.option("--model", default=None, help="Model for the query.  [default: the corpus's own]"),
    click.option("--pretrained", default=None, help="Its pretrained tag.  [default: the corpus's own]"),
]
