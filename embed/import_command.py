"""The command `tailwag import`: parses, calls the import, prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tailwag.options import database_option, device_option, json_option

if TYPE_CHECKING:
    from .imports.job import ImportPlan, ImportReport
    from .space import Space


@click.command("import")
@click.argument("sources", nargs=-1, required=True, metavar="FOLDER...")
@click.option("--corpus", required=True, help="Name of the corpus to make or to add to.")
@click.option("--model", default=None, help="Which model made the vectors, as for embed.  [default: the corpus's own]")
@click.option("--pretrained", default=None, help="open_clip's tag of its weights.")
@click.option("--unverified", is_flag=True, help="Record the model by its name alone, without loading it.")
@click.option("--vectors", type=click.Choice(["b32", "l14"]), default=None, help="Of DataComp's two models, whose.")
@click.option("--any-length", is_flag=True, help="Take vectors that are not of unit length, for their direction.")
@click.option("--encode-captions", is_flag=True, help="Make the captions' vectors with the model.")
@database_option
@device_option
@click.option("--dry-run", is_flag=True, help="Check all files, print the plan and stop.")
@json_option
def import_vectors(
    sources: tuple[str, ...],
    corpus: str,
    model: str | None,
    pretrained: str | None,
    unverified: bool,
    vectors: str | None,
    any_length: bool,
    encode_captions: bool,
    database: str,
    device: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take in vectors that exist already, without a GPU.

    FOLDER holds clip-retrieval's output (img_emb/, text_emb/, metadata/), LAION-400M's release in the same layout, or
    DataComp's metadata (.npz and .parquet side by side), here or as a prefix on an object store. The files do not say
    which model made them: name it, and some captions are encoded anew and compared. Pairs without a sound vector are
    listed in CORPUS.failures. The same command again goes on where it was stopped.

    \b
    Example:
      tailwag import laion400m --corpus laion400m --model ViT-B-32-quickgelu --pretrained openai
      tailwag import s3://ours/laion400m --corpus laion400m --model ViT-B-32-quickgelu --pretrained openai
      tailwag import small/metadata --corpus small --vectors l14 --model ViT-L-14-quickgelu --pretrained openai
    """
    import json

    from tailwag.progress import progress

    from .database import Database, check_corpus_name
    from .imports.job import ImportReport, plan_import, run_import
    from .imports.named_space import find_space

    check_corpus_name(corpus)
    plan = plan_import(sources, Database(database), corpus, vectors=vectors)
    if not plan.parts:
        click.echo(f"all {plan.parts_done:,} parts are in corpus {corpus!r} already: nothing to do", err=True)
        if as_json:
            click.echo(json.dumps(_as_dict(ImportReport())))
        return
    found = find_space(plan, model, pretrained, unverified=unverified, encode_captions=encode_captions, device=device)
    click.echo(_describe_plan(plan, found.space, found.said), err=True)
    if dry_run:
        return
    with progress(f"importing {corpus}", plan.rows, "rows") as bar:
        report = run_import(
            plan, found.space, any_length=any_length, encode_captions=found.encode_captions, progress=bar
        )
    click.echo(json.dumps(_as_dict(report)) if as_json else _describe_report(plan, report))


def _describe_plan(plan: ImportPlan, space: Space, said: str) -> str:
    return "\n".join(
        [
            f"corpus   {plan.corpus} in {plan.database.uri}",
            f"layout   {plan.layout}",
            f"parts    {len(plan.parts):,} to import ({plan.size / 1e6:,.1f} MB), {plan.parts_done:,} done before",
            f"pairs    {plan.rows:,} of {plan.dimension} dimensions",
            f"model    {space.title}, space {space.fingerprint}: {said}",
        ]
    )


def _describe_report(plan: ImportPlan, report: ImportReport) -> str:
    rate = 60 * report.samples / report.seconds if report.seconds else 0.0
    lines = [
        f"{report.samples:,} pairs: {report.rows:,} rows and {report.failures:,} failures in {plan.corpus!r}, "
        f"{report.seconds:,.1f} s, {rate / 1e6:,.2f} million a minute"
    ]
    lines += [f"  {count:>8,}  {reason}" for reason, count in report.reasons.most_common()]
    if report.undone:
        lines.append(f"an interrupted run's work was undone first: {', '.join(report.undone)}")
    return "\n".join(lines)


def _as_dict(report: ImportReport) -> dict[str, Any]:
    return {**vars(report), "failures": report.failures, "reasons": dict(report.reasons)}
