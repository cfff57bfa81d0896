"""Training: what a batch holds, that it is repeatable, that a run can be taken up again, and that it learns."""

import re
from dataclasses import asdict, replace

import numpy as np
import pytest
from click.testing import CliRunner

from tailwag.benchmarks.world.commands import world
from tailwag.benchmarks.world.packaged_model import CONFIG_FILE, WEIGHTS_FILE, read_record
from tailwag.benchmarks.world.scenes import Scene, Thing
from tailwag.benchmarks.world.training import TrainingPlan, check_start
from tailwag.benchmarks.world.training_batches import draw_batch, family_targets
from tailwag.benchmarks.world.vocabulary import FAMILIES, family_names
from tailwag.errors import BadInput


def test_a_batch_depends_on_seed_and_step_alone():
    one, again, other = draw_batch(3, 5, 8, False), draw_batch(3, 5, 8, False), draw_batch(3, 6, 8, False)
    assert (one.pixels == again.pixels).all() and (one.tokens == again.tokens).all()
    assert (one.pixels != other.pixels).any()


def test_the_opening_shows_single_things_only():
    assert (draw_batch(0, 0, 16, True).targets["number"][:, 0] == 1).all()


def test_targets_share_an_image_out_among_its_things():
    scene = Scene((Thing("star", "red", "plain", 0.5), Thing("star", "blue", "ringed", 0.5)), "sand")
    targets = family_targets([scene])
    assert targets["kind"][0, family_names("kind").index("star")] == 1
    assert targets["colour"][0, family_names("colour").index("red")] == 0.5
    assert targets["number"][0].tolist() == [0, 1, 0]
    assert all(np.isclose(targets[family].sum(), 1) for family in FAMILIES)


def test_the_learning_rate_warms_up_and_ends_at_nothing():
    plan = TrainingPlan(steps=1000)
    rates = [plan.learning_rate(step) for step in range(1001)]
    assert rates[0] < plan.peak_rate / 50
    assert max(rates) == pytest.approx(plan.peak_rate, rel=0.05)
    assert rates[1000] == pytest.approx(0, abs=1e-9)


def test_steps_and_minutes_exclude_each_other(tmp_path):
    result = CliRunner().invoke(world, ["train", "--out", str(tmp_path), "--steps", "5", "--minutes", "1"])
    assert result.exit_code == 2
    assert "exclude each other" in result.output


def test_a_run_neither_overwrites_a_checkpoint_nor_goes_on_from_another_run(tmp_path):
    import torch

    plan = TrainingPlan(steps=10, seed=1)
    with pytest.raises(BadInput, match="no checkpoint.pt to go on from"):
        check_start(plan, tmp_path, resume=True)
    check_start(plan, tmp_path, resume=False)
    torch.save({"plan": asdict(plan)}, tmp_path / "checkpoint.pt")
    check_start(replace(plan, steps=5), tmp_path, resume=True)
    with pytest.raises(BadInput, match="pass --resume"):
        check_start(plan, tmp_path, resume=False)
    with pytest.raises(BadInput, match="--seed 1 --batch 128, asked for is --seed 2"):
        check_start(replace(plan, seed=2), tmp_path, resume=True)


def losses(output):
    return [float(loss) for loss in re.findall(r"loss ([0-9.]+)", output)]


@pytest.mark.slow
def test_a_minute_of_training_lowers_the_loss_and_can_be_taken_up_again(tmp_path):
    out = str(tmp_path / "model")
    common = ["train", "--out", out, "--batch", "64", "--no-measure"]
    first = CliRunner().invoke(world, [*common, "--steps", "300"])
    assert first.exit_code == 0, first.output
    # Guessing gives log(64) = 4.16.
    assert losses(first.output)[-1] < 3.6
    record = read_record(tmp_path / "model")
    assert (record.steps, record.batch) == (300, 64)
    assert {CONFIG_FILE, WEIGHTS_FILE, "checkpoint.pt"} <= {path.name for path in (tmp_path / "model").iterdir()}
    second = CliRunner().invoke(world, [*common, "--steps", "500", "--resume"])
    assert second.exit_code == 0, second.output
    assert re.findall(r"step (\d+) of 500", second.output) == ["400", "500"]
    assert losses(second.output)[-1] < losses(first.output)[-1]
