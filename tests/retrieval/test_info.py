"""`tailwag info`: which corpora there are, and what one holds."""

import json
from datetime import UTC, datetime

import pytest

from tailwag.embed.failures import Failure, Reason
from tailwag.embed.ledger import JobRecord, Ledger
from tailwag.main import main
from tailwag.retrieval.counting.backends import describe_backend
from tests.corpora import add_failures, make_corpus, random_unit, rows_table


@pytest.fixture
def tailwag(tmp_path, capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["info", *map(str, arguments), "--db", str(tmp_path)])
        output = capsys.readouterr()
        return caught.value.code, output.out, output.err

    return run


@pytest.fixture
def corpus(tmp_path):
    made = make_corpus(tmp_path, random_unit(1200, 16), name="photos")
    failures = [Failure("s/a", "s", Reason.NOT_AN_IMAGE, "x")] * 2 + [Failure("s/b", "s", Reason.NO_IMAGE, "y")]
    add_failures(made, failures)
    return made


def test_all_corpora_are_listed(tailwag, corpus, tmp_path):
    make_corpus(tmp_path, random_unit(3, 8), name="other")
    status, out, _ = tailwag()
    assert status == 0
    *table, counted_by = out.splitlines()
    assert counted_by == f"counted by {describe_backend()}"
    assert [line.split() for line in table] == [
        ["corpus", "rows", "failures", "version", "space"],
        ["other", "3", "0", "2", "made"],
        ["photos", "1,200", "3", "2", "made"],
    ]
    _, out, _ = tailwag("--json")
    assert [(one["corpus"], one["rows"]) for one in json.loads(out)] == [("other", 3), ("photos", 1200)]


def test_one_corpus_is_described(tailwag, corpus):
    status, out, _ = tailwag("photos")
    assert status == 0
    for part in (
        "photos",
        "1,200",
        corpus.space.fingerprint,
        "16 dimensions",
        "2  not an image",
        "1  no image",
        "none;",
        f"counted by     {describe_backend()}",
    ):
        assert part in out


def test_the_description_is_json_too(tailwag, corpus):
    described = json.loads(tailwag("photos", "--json")[1])
    assert (described["corpus"], described["corpus_version"], described["rows"]) == ("photos", 2, 1200)
    assert described["space"]["fingerprint"] == corpus.space.fingerprint
    assert described["failures"] == {"total": 3, "reasons": {"not an image": 2, "no image": 1}}
    assert described["bytes"] > 1200 * 2 * 16 * 2
    assert described["indices"] == []


def test_an_index_is_described_and_a_stale_one_says_so(tailwag, corpus):
    from tailwag.retrieval.index import build_index

    build_index(corpus, "image")
    (index,) = json.loads(tailwag("photos", "--json")[1])["indices"]
    assert (index["side"], index["rows"], index["current"]) == ("image", 1200, True)
    assert "current" in tailwag("photos")[1]
    corpus.append(rows_table(corpus.space, random_unit(2, 16), prefix="t/"))
    (index,) = json.loads(tailwag("photos", "--json")[1])["indices"]
    assert index["current"] is False
    assert "not usable" in tailwag("photos")[1]


def test_an_older_version_is_described_by_number(tailwag, corpus):
    corpus.append(rows_table(corpus.space, random_unit(2, 16), prefix="t/"))
    assert json.loads(tailwag("photos", "--json")[1])["rows"] == 1202
    assert json.loads(tailwag("photos", "--json", "--version", 2)[1])["rows"] == 1200


def test_what_is_not_there_is_told(tailwag, tmp_path, capsys):
    assert tailwag()[1] == f"no corpus in {tmp_path}: make one with `tailwag embed`\n"
    status, _, err = tailwag("photos")
    assert status == 1
    assert "no corpus 'photos'" in err
    with pytest.raises(SystemExit):
        main(["info", "--db", str(tmp_path / "none")])
    assert "there is no database" in capsys.readouterr().err
    assert tailwag("--version", 2)[0] == 2


def test_versions_tags_and_the_last_job_are_told(tailwag, corpus):
    corpus.tag("as-published")
    started = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    job = JobRecord(started, 10.0, "local", 2, "cuda", shards=3, samples=500, rows=490, failures=10)
    Ledger(corpus.database, "photos").add_job(job)
    status, out, _ = tailwag("photos")
    assert status == 0
    assert f"versions       {corpus.version} (tags: as-published is {corpus.version})" in out
    assert "last job       2026-01-02 03:04 UTC, 500 samples (10 failures) in 10 s, 50/s" in out
    assert "(engine local, cuda, 2 workers)" in out
    told = json.loads(tailwag("photos", "--json")[1])
    assert told["last_job"]["samples_per_second"] == 50 and told["tags"] == {"as-published": corpus.version}


def test_corpora_of_the_same_pairs_name_each_other(tailwag, corpus, tmp_path):
    other = make_corpus(tmp_path, random_unit(3, 8), name="other")
    add_failures(other, [Failure("s/a", "s", Reason.NOT_AN_IMAGE, "x")])
    make_corpus(tmp_path, random_unit(3, 8), name="stranger")
    assert "same pairs     in other\n" in tailwag("photos")[1]
    assert json.loads(tailwag("other", "--json")[1])["siblings"] == ["photos"]
    assert "same pairs" not in tailwag("stranger")[1]
