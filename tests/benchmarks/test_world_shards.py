"""A world on disk: img2dataset's layout, the same bytes for the same plan, and a truth that agrees with it."""

import hashlib
import io
import json
import math
import re
import tarfile
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from tailwag.benchmarks.world.commands import world
from tailwag.benchmarks.world.shards import TRUTH_FILE, WorldPlan, make_world
from tailwag.benchmarks.world.vocabulary import KINDS, SYNONYMS, concepts, plural
from tailwag.embed.sources import find_tars, tar_shards
from tailwag.errors import BadInput

PLAN = WorldPlan(300, seed=5, exponent=1.0, omit=0.2, wrong=0.1, near_duplicates=0.2, shard_size=120)


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def truth_of(folder):
    return pq.read_table(folder / TRUTH_FILE).to_pylist()


def captions_of(folder):
    captions = {}
    for path in sorted(folder.glob("0*.parquet")):
        for row in pq.read_table(path).to_pylist():
            captions[row["key"]] = row["caption"]
    return captions


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first") / "world"
    make_world(PLAN, folder, workers=1)
    return folder


@pytest.fixture(scope="module")
def flawless(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flawless") / "world"
    make_world(WorldPlan(600, seed=6, exponent=0.5), folder, workers=1)
    return folder


def test_the_same_plan_gives_the_same_bytes_with_any_number_of_workers(made, tmp_path):
    make_world(PLAN, tmp_path / "world", workers=3)
    assert digests(tmp_path / "world") == digests(made)


def test_another_seed_gives_other_bytes(made, tmp_path):
    make_world(WorldPlan(120, seed=7, omit=0.2, wrong=0.1, near_duplicates=0.2, shard_size=120), tmp_path / "world")
    assert digests(tmp_path / "world")["00000.tar"] != digests(made)["00000.tar"]


def test_the_layout_is_img2datasets(made):
    assert sorted(digests(made)) == sorted(
        [f"{shard:05d}{end}" for shard in range(3) for end in (".tar", ".parquet", "_stats.json")] + [TRUTH_FILE]
    )
    for shard, n in enumerate((120, 120, 60)):
        with tarfile.open(made / f"{shard:05d}.tar") as tar:
            names = tar.getnames()
            contents = {member.name: tar.extractfile(member).read() for member in tar}
        keys = [f"{shard * 1000 + index:08d}" for index in range(n)]
        assert names == [f"{key}.{end}" for key in keys for end in ("jpg", "txt", "json")]
        rows = pq.read_table(made / f"{shard:05d}.parquet").to_pylist()
        assert [row["key"] for row in rows] == keys
        for row in rows[:20]:
            assert json.loads(contents[f"{row['key']}.json"]) == row
            assert contents[f"{row['key']}.txt"].decode() == row["caption"]
            image = contents[f"{row['key']}.jpg"]
            assert hashlib.sha256(image).hexdigest() == row["sha256"]
            assert Image.open(io.BytesIO(image)).size == (row["width"], row["height"]) == (64, 64)
            assert row["status"] == "success"
        stats = json.loads((made / f"{shard:05d}_stats.json").read_text())
        assert stats["count"] == stats["successes"] == n


def test_keys_have_img2datasets_nine_digits_for_shards_of_two_thousand():
    assert WorldPlan(5000).sample_key(2, 7) == "000020007"


def test_embedding_finds_every_sample_under_the_key_of_the_truth(made):
    from tailwag.embed.tar_shards import read_tar

    keys = [sample.key for shard in tar_shards(find_tars([str(made)])) for sample in read_tar(shard)]
    assert keys == [row["key"] for row in truth_of(made)]


def test_captions_name_exactly_the_truth_when_none_slips(flawless):
    vocabulary = [concept.name for concept in concepts()]
    captions = captions_of(flawless)
    for row in truth_of(flawless):
        caption = captions[row["sample_key"]]
        named = set()
        for name in vocabulary:
            words = {name, plural(name), *SYNONYMS.get(name, ()), *(plural(word) for word in SYNONYMS.get(name, ()))}
            if any(re.search(rf"\b{word}\b", caption) for word in words):
                named.add(name)
        assert named == set(row["concepts"]), caption
        assert not row["omitted"] and not row["named_wrongly"]


def test_the_truth_lists_what_its_things_show(made):
    for row in truth_of(made):
        shown = {thing[part] for thing in row["things"] for part in ("kind", "colour", "texture")}
        assert shown < set(row["concepts"])
        assert ("one", "two", "three")[len(row["things"]) - 1] in row["concepts"]
        assert row["key"] == f"world/{row['shard']}/{row['sample_key']}"


def test_omitted_concepts_are_not_named_and_wrong_ones_are_not_shown(made):
    captions = captions_of(made)
    for row in truth_of(made):
        words = set(re.findall(r"[a-z]+", captions[row["sample_key"]]))
        assert not (set(row["named_wrongly"]) & set(row["concepts"]))
        assert not (set(row["omitted"]) & words - set(row["named_wrongly"]))


def binomial(share, n):
    return 4.5 * math.sqrt(share * (1 - share) / n)


def test_shares_of_slips_and_near_duplicates_come_out_as_set(made):
    rows = truth_of(made)
    pairs = sum(len(row["concepts"]) for row in rows)
    omitted = sum(len(row["omitted"]) for row in rows) / pairs
    assert abs(omitted - 0.2) < binomial(0.2, pairs)
    wrong = sum(len(row["named_wrongly"]) for row in rows) / pairs
    # Two concepts may be replaced by the same wrong one, which the list holds once.
    assert 0.1 - binomial(0.1, pairs) - 0.01 < wrong < 0.1 + binomial(0.1, pairs)
    repeats = [row for row in rows if row["near_duplicate_of"]]
    # The first image of each of three shards has nothing to repeat.
    assert abs(len(repeats) / 297 - 0.2) < binomial(0.2, 297)


def test_near_duplicates_show_what_an_earlier_image_of_their_shard_shows_in_other_bytes(made):
    rows = {row["sample_key"]: row for row in truth_of(made)}
    images = {}
    for path in sorted(made.glob("*.tar")):
        with tarfile.open(path) as tar:
            images.update({m.name[:-4]: tar.extractfile(m).read() for m in tar if m.name.endswith(".jpg")})
    repeats = [row for row in rows.values() if row["near_duplicate_of"]]
    pixels = {key: np.asarray(Image.open(io.BytesIO(image)).convert("L"), float) for key, image in images.items()}
    alike = 0
    for row in repeats:
        original = rows[row["near_duplicate_of"]]
        assert original["near_duplicate_of"] is None
        assert original["shard"] == row["shard"] and original["sample_key"] < row["sample_key"]
        assert original["things"] == row["things"]
        assert images[original["sample_key"]] != images[row["sample_key"]]
        repeat = pixels[row["sample_key"]].ravel()
        own = np.corrcoef(repeat, pixels[original["sample_key"]].ravel())[0, 1]
        others = [key for key in list(pixels)[:100] if rows[key]["things"] != row["things"]]
        alike += own > max(np.corrcoef(repeat, pixels[key].ravel())[0, 1] for key in others)
    assert alike >= 0.9 * len(repeats)


def test_the_truth_says_which_plan_made_it(made):
    metadata = pq.read_schema(made / TRUTH_FILE).metadata
    assert WorldPlan(**json.loads(metadata[b"tailwag.world"])) == PLAN


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"n": 0}, "--n is 0"),
        ({"exponent": -1.0}, "--exponent is -1.0"),
        ({"exponent": float("nan")}, "--exponent is nan"),
        ({"omit": 1.5}, "--omit is 1.5"),
        ({"near_duplicates": -0.1}, "--near-duplicates is -0.1"),
        ({"omit": 0.7, "wrong": 0.5}, "add up to more than 1"),
        ({"shard_size": 0}, "--shard-size is 0"),
    ],
)
def test_a_plan_that_cannot_be_drawn_is_refused_in_one_line(wrong, complaint, tmp_path):
    with pytest.raises(BadInput, match=re.escape(complaint)) as caught:
        make_world(WorldPlan(**{"n": 10, **wrong}), tmp_path / "world")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "world").exists()


def test_all_mistakes_of_a_plan_are_named_together():
    with pytest.raises(BadInput, match="--n is 0.*--omit is 2"):
        WorldPlan(0, omit=2).check()


def test_a_folder_that_is_not_empty_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("dear to me")
    with pytest.raises(BadInput, match="not an empty folder"):
        make_world(WorldPlan(10), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be made"):
        make_world(WorldPlan(10), tmp_path / "file" / "world")


def test_the_command_makes_a_world(tmp_path):
    result = CliRunner().invoke(world, ["make", str(tmp_path / "w"), "--n", "20", "--exponent", "0"])
    assert result.exit_code == 0, result.output
    rows = truth_of(tmp_path / "w")
    assert len(rows) == 20
    assert "20 images in 1 shards" in result.output
    assert Counter(row["shard"] for row in rows) == {"00000": 20}
    assert {thing["kind"] for row in rows for thing in row["things"]} <= set(KINDS)
