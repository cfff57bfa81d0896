"""`tailwag search` and `tailwag index` as a person meets them."""

from __future__ import annotations

import csv
import io
import json
import shutil
from typing import NamedTuple

import pytest

from tailwag.embed.corpus import Corpus
from tailwag.embed.encoder import Encoder
from tailwag.embed.job import plan_embedding, run_embedding
from tailwag.main import main

from ..embed.shards import picture, sound_members, write_tar


@pytest.fixture(scope="module")
def embedded(tmp_path_factory, tiny_model):
    """A folder with a shard and a database of its 30 rows."""
    folder = tmp_path_factory.mktemp("embedded")
    write_tar(folder / "set" / "00000.tar", sound_members(range(30), label="noise"))
    run_embedding(plan_embedding([str(folder / "set")], folder / "tailwag-db", "c"), Encoder.load(tiny_model))
    return folder


@pytest.fixture
def folder(tmp_path, embedded):
    """A copy of the database, so that each test may do to it what it wants; the shard stays where it was embedded."""
    shutil.copytree(embedded / "tailwag-db", tmp_path / "tailwag-db")
    return tmp_path


class Told(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def tailwag(capsys, monkeypatch):
    """Run the command line in this process, which has torch imported already."""
    monkeypatch.delenv("TAILWAG_DB", raising=False)

    def run(*arguments, cwd) -> Told:
        monkeypatch.chdir(cwd)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(map(str, arguments)))
        status = ended.value.code
        assert isinstance(status, int)
        return Told(status, *capsys.readouterr())

    return run


def test_a_search_prints_a_table_and_writes_a_page(tailwag, folder):
    told = tailwag("search", "c", "two dogs in snow", "-k", 3, "--html", "out.html", "--csv", "out.csv", cwd=folder)
    assert told.returncode == 0, told.stderr
    first, headings, *rows = told.stdout.splitlines()
    assert first.startswith("3 nearest of 30 images to 'two dogs in snow' in 'c' (version ")
    assert first.endswith("exact (all 30 rows compared)")
    assert headings.split() == ["rank", "similarity", "key", "label", "caption"]
    assert len(rows) == 3 and "picture number" in rows[0]
    assert told.stderr == "page written to out.html\n"
    page = (folder / "out.html").read_text("utf-8")
    assert page.count('<img src="data:image/jpeg;base64,') == 3
    with (folder / "out.csv").open(newline="") as file:
        assert [row["rank"] for row in csv.DictReader(file)] == ["1", "2", "3"]


def test_a_picture_finds_itself(tailwag, folder, tmp_path):
    dict_of = dict(sound_members(range(12, 13)))
    (tmp_path / "query.jpg").write_bytes(dict_of["000000012.jpg"])
    told = tailwag("search", "c", "--image", "query.jpg", "-k", 1, "--json", "--html", "out.html", cwd=folder)
    result = json.loads(told.stdout)
    [hit] = result["queries"][0]["hits"]
    assert hit["key"].endswith("000000012") and hit["similarity"] == pytest.approx(1, abs=2e-3)
    assert result["exact"] is True
    assert 'alt="example picture 1 of the query"' in (folder / "out.html").read_text("utf-8")


def test_pictures_that_have_gone_are_counted_and_the_page_is_still_written(tailwag, folder, embedded):
    shard = embedded / "set" / "00000.tar"
    shard.rename(shard.with_suffix(".away"))
    try:
        told = tailwag("search", "c", "a cat", "-k", 2, "--html", "out.html", cwd=folder)
    finally:
        shard.with_suffix(".away").rename(shard)
    assert told.returncode == 0
    assert "2 of the 2 pictures could not be shown, the page says why" in told.stderr
    assert (folder / "out.html").read_text("utf-8").count("<b>no picture</b>") == 2


def test_an_index_is_built_listed_used_and_refused_when_stale(tailwag, folder):
    built = tailwag("index", "build", "c", cwd=folder)
    assert built.returncode == 0, built.stderr
    assert "index    Flat over 30 image vectors of 32" in built.stderr
    assert built.stdout.startswith("Flat index of 30 image vectors of 'c' (version ")
    assert "written to tailwag-db/c.indices/image" in built.stdout
    assert "current" in tailwag("index", "list", "c", cwd=folder).stdout
    used = tailwag("search", "c", "a cat", "-k", 2, cwd=folder)
    exact = tailwag("search", "c", "a cat", "-k", 2, "--exact", cwd=folder)
    assert "approximate (Flat index, " in used.stdout and "exact (all 30" in exact.stdout
    assert used.stdout.splitlines()[1:] == exact.stdout.splitlines()[1:]
    Corpus.open(folder / "tailwag-db", "c").delete("caption = 'picture number 3'")
    stale = tailwag("search", "c", "a cat", cwd=folder)
    assert (stale.returncode, stale.stdout) == (1, "")
    assert stale.stderr.startswith("tailwag: the image index of 'c' was built for version ")
    assert stale.stderr.endswith("run `tailwag index build c`, or pass --exact\n")
    assert "exact (all 29" in tailwag("search", "c", "a cat", "--exact", cwd=folder).stdout
    [listed] = json.loads(tailwag("index", "list", "c", "--json", cwd=folder).stdout)
    assert listed["current"] is False and "was built for version" in listed["problem"]


def test_control_characters_of_a_caption_do_not_reach_the_terminal(tailwag, tmp_path, tiny_model):
    members = [("1.jpg", picture(1)), ("1.txt", b"red \x1b]0;owned\x07 bus\r\nsecond line"), ("1.json", b"{}")]
    write_tar(tmp_path / "set" / "00000.tar", members)
    run_embedding(plan_embedding([str(tmp_path / "set")], tmp_path / "tailwag-db", "c"), Encoder.load(tiny_model))
    told = tailwag("search", "c", "a bus", cwd=tmp_path)
    assert "red ]0;owned bus second line" in told.stdout
    assert "\x1b" not in told.stdout and len(told.stdout.splitlines()) == 3


def test_csv_on_standard_output_is_only_csv(tailwag, folder):
    told = tailwag("search", "c", "a cat", "-k", 2, "--csv", "-", cwd=folder)
    assert [row["rank"] for row in csv.DictReader(io.StringIO(told.stdout))] == ["1", "2"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["search", "c"], 2, "Say what to search for"),
        (["search", "c", "a cat", "--image", "x.jpg"], 2, "one of the two"),
        (["search", "c", " "], 2, "QUERY is empty"),
        (["search", "c", "a cat", "-k", "0"], 2, "is not in the range"),
        (["search", "c", "a cat", "--exact", "--nprobe", "3"], 2, "pass one of them"),
        (["search", "c", "a cat", "--json", "--csv", "-"], 2, "pass one of them"),
        (["search", "d", "a cat"], 1, "tailwag: no corpus 'd'"),
        (["search", "c", "a cat", "--html", "nowhere/x.html"], 1, "there is no folder nowhere"),
        (["search", "c", "--image", "x.jpg"], 1, "there is no picture x.jpg"),
        (["index", "build", "c", "--kind", "ivf-pq"], 1, "at least 256 rows"),
        (["index", "build", "c", "--device", "cuda:9"], 1, "pass --device cpu"),
        (["index", "list", "c", "--db", "s3://nowhere/db"], 1, "tailwag: "),
    ],
)
def test_mistakes_are_one_line(tailwag, embedded, arguments, status, message):
    told = tailwag(*arguments, cwd=embedded)
    assert told.returncode == status and told.stdout == ""
    assert message in told.stderr and "Traceback" not in told.stderr
    if status == 1:
        # A plan may stand above it.
        assert told.stderr.splitlines()[-1].startswith("tailwag: ") and told.stderr.count("tailwag: ") == 1
