"""What is in the scenes and what captions miss of it: frequencies, shares, prominence."""

import math
import random
from collections import Counter

import numpy as np
import pytest

from tailwag.benchmarks.world.drawing import draw_scene, jpeg_bytes, sprite_bank
from tailwag.benchmarks.world.scenes import SceneSampler
from tailwag.benchmarks.world.slips import Slipper, SlipShares
from tailwag.benchmarks.world.vocabulary import KINDS, SPECIES, family_names


def sampled(exponent, n, seed=0):
    sampler, rng = SceneSampler(exponent, seed), random.Random(1)
    return sampler, [sampler.sample(rng) for _ in range(n)]


@pytest.mark.parametrize("exponent", [0.5, 1.0, 1.5])
def test_kinds_follow_a_zipf_law_of_the_exponent_set(exponent):
    sampler, scenes = sampled(exponent, 30_000)
    counts = Counter(thing.kind for scene in scenes for thing in scene.things)
    top = 25
    seen = np.array([counts[kind] for kind in sampler.ranked["kind"][:top]])
    slope = np.polyfit(np.log(np.arange(1, top + 1)), np.log(seen), 1, w=np.sqrt(seen))[0]
    assert abs(slope + exponent) < 0.06


def test_exponent_0_is_balanced_in_every_family():
    _, scenes = sampled(0.0, 30_000)
    counts = Counter(thing.kind for scene in scenes for thing in scene.things)
    things = sum(counts.values())
    assert set(counts) == set(KINDS)
    # Flocks repeat their kind, so counts vary more than binomially.
    assert max(abs(count / things * len(KINDS) - 1) for count in counts.values()) < 0.25


@pytest.mark.parametrize("exponent", [0.0, 1.5])
def test_one_two_and_three_things_are_equally_frequent_whatever_the_exponent(exponent):
    _, scenes = sampled(exponent, 20_000)
    numbers = Counter(scene.number for scene in scenes)
    assert max(abs(numbers[number] / len(scenes) - 1 / 3) for number in family_names("number")) < 0.015


def test_the_rank_order_is_a_permutation_by_seed():
    one, other = SceneSampler(1.0, 1), SceneSampler(1.0, 2)
    assert sorted(one.ranked["kind"]) == sorted(other.ranked["kind"]) == sorted(KINDS)
    assert one.ranked["kind"] != other.ranked["kind"]
    assert one.ranked["kind"] == SceneSampler(0.3, 1).ranked["kind"]


def test_weights_of_a_family_sum_to_one():
    sampler = SceneSampler(1.2, 3)
    for family in ("kind", "colour", "texture", "background", "number"):
        assert math.isclose(sum(sampler.weight(family, name) for name in family_names(family)), 1.0)


@pytest.mark.parametrize("n_things", [1, 2, 3])
def test_scenes_hold_as_many_things_as_asked_for(n_things):
    rng = random.Random(0)
    assert all(len(SceneSampler().sample(rng, n_things).things) == n_things for _ in range(50))


@pytest.mark.parametrize("prominence", [0.0, 1.0])
def test_the_share_of_kinds_left_out_is_as_set_whatever_the_prominence(prominence):
    sampler, scenes = sampled(1.0, 30_000, seed=4)
    slipper, rng = Slipper(SlipShares(0.3, 0.05, prominence), sampler, 4), random.Random(2)
    left_out = pairs = 0
    for scene in scenes:
        slips = slipper.slips(scene, rng)
        for kind in {thing.kind for thing in scene.things}:
            pairs += 1
            left_out += kind in slips and slips[kind] is None
    assert abs(left_out / pairs - 0.3) < 0.015


def test_with_prominence_small_things_are_left_out_more_often():
    sampler, scenes = sampled(0.0, 20_000)
    slipper, rng = Slipper(SlipShares(0.3, 0.0, 1.0), sampler, 0), random.Random(2)
    shares = {True: [0, 0], False: [0, 0]}
    for scene in scenes:
        if len(scene.things) == 1:
            slips = slipper.slips(scene, rng)
            small = shares[scene.things[0].size < 0.5]
            small[0] += scene.things[0].kind in slips
            small[1] += 1
    small, large = (hits / n for hits, n in (shares[True], shares[False]))
    assert small - large > 0.08


def test_drawing_depends_on_the_seed_alone():
    bank, sampler = sprite_bank(0), SceneSampler()

    def draw(seed):
        rng = random.Random(seed)
        return jpeg_bytes(draw_scene(sampler.sample(rng), bank, rng))

    assert draw(1) == draw(1) != draw(2)


def test_banks_of_two_seeds_hold_other_individuals():
    one, other = sprite_bank(0), sprite_bank("elsewhere")
    mine = {sprite.tobytes() for kind in SPECIES for sprite, _ in one.sprites[kind]}
    theirs = [sprite.tobytes() for kind in SPECIES for sprite, _ in other.sprites[kind]]
    # The plainest forms have so little to vary that two individuals may agree to the pixel.
    assert np.mean([sprite in mine for sprite in theirs]) < 0.05
