"""Training the world's CLIP: open_clip's model, tokenizer and contrastive loss on the balanced world.

Heads on the image vector help through the first 85 % and are thrown away. Batches come from `training_batches.py`,
accuracy from `evaluation.py`, the folder that ships from `packaged_model.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tailwag.errors import BadInput

from ...embed.open_clip_loading import import_open_clip
from .evaluation import fresh_images, image_vectors, prototypes, similarities, top1
from .packaged_model import MEAN, MODEL_CONFIG, STD
from .training_batches import CONTEXT_LENGTH, TrainingBatch, batches
from .vocabulary import FAMILIES, family_names

CHECKPOINT_FILE = "checkpoint.pt"
# Without the heads the contrastive loss alone stays on a plateau for many minutes before it finds the kinds.
_HEAD_WEIGHTS = {"kind": 1.0, "colour": 0.4, "texture": 0.8, "number": 0.6, "background": 0.2}
_HEADS_UNTIL = 0.85
_OPENING_SHARE = 0.12
_WARM_UP_STEPS = 80


@dataclass(frozen=True)
class TrainingPlan:
    """How a training run goes; the same plan and thread count give the same weights."""

    steps: int = 6000
    batch: int = 128
    peak_rate: float = 2e-3
    seed: int = 0
    threads: int = 1
    draw_processes: int = 1
    checkpoint_every: int = 500

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a cosine down to nothing."""
        warm = min(1.0, (step + 1) / _WARM_UP_STEPS)
        return self.peak_rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.steps)))


class _Trainee:
    """The model, its heads and the optimiser, as one thing to save and restore."""

    def __init__(self, plan: TrainingPlan) -> None:
        import torch

        torch.set_num_threads(plan.threads)
        torch.manual_seed(plan.seed)
        self.open_clip = import_open_clip()
        self.model = self.open_clip.model.CLIP(**MODEL_CONFIG).to(memory_format=torch.channels_last)
        self.heads = torch.nn.ModuleDict(
            {family: torch.nn.Linear(MODEL_CONFIG["embed_dim"], len(family_names(family))) for family in FAMILIES}
        )
        self.loss = self.open_clip.ClipLoss()
        named = [*self.model.named_parameters(), *self.heads.named_parameters()]
        decayed = [p for name, p in named if p.ndim > 1 and "embedding" not in name]
        free = [p for name, p in named if p.ndim <= 1 or "embedding" in name]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.05}, {"params": free, "weight_decay": 0.0}],
            lr=plan.peak_rate,
            betas=(0.9, 0.98),
            fused=True,
        )
        self.tokenizer = self.open_clip.tokenizer.SimpleTokenizer(context_length=CONTEXT_LENGTH)

    def step(self, batch: TrainingBatch, rate: float, with_heads: bool) -> float:
        """Learn from one batch; returns the contrastive loss."""
        import torch
        import torch.nn.functional as F

        pixels = torch.from_numpy(batch.pixels).permute(0, 3, 1, 2).float().div_(255)
        images = (pixels - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
        vectors, texts, scale = self.model(images, torch.from_numpy(batch.tokens))
        contrastive = self.loss(vectors, texts, scale)
        total = contrastive
        if with_heads:
            for family, head in self.heads.items():
                # Unit vectors of 256 numbers have entries of about 1/16.
                aims = F.cross_entropy(head(vectors * 16), torch.from_numpy(batch.targets[family]))
                total = total + _HEAD_WEIGHTS[family] * aims
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_([*self.model.parameters(), *self.heads.parameters()], 1.0)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(100))
        return float(contrastive.detach())

    def save(self, path: Path, step: int, seconds: float, plan: TrainingPlan) -> None:
        """Write a checkpoint: complete or not at all."""
        import torch

        state = {
            "step": step,
            "seconds": seconds,
            "plan": asdict(plan),
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)

    def restore(self, path: Path) -> tuple[int, float]:
        """Take a checkpoint up again; returns its step and the seconds spent so far."""
        import torch

        state = torch.load(path, map_location="cpu", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        return state["step"], state["seconds"]


class _Development:
    """Accuracy on development images, which nothing reported ever uses."""

    def __init__(self) -> None:
        self.single = fresh_images("development/0", 800, n_things=1)
        self.mixed = fresh_images("development/0", 800)
        self.triple = fresh_images("development/0", 400, n_things=3)

    def measure(self, model: Any, tokenizer: Any) -> dict[str, float]:
        model.eval()
        proto = prototypes(model, tokenizer)
        shares: dict[str, float] = {}
        for images, families, name in (
            (self.single, ("kind", "colour", "texture", "background"), "{}"),
            (self.mixed, ("number",), "{}"),
            (self.triple, ("kind",), "{} of three"),
        ):
            scores = similarities(image_vectors(model, images.pixels, MEAN, STD), proto)
            for family in families:
                shares[name.format(family)] = float(top1(scores, images.holds(), family).mean())
        model.train()
        return shares


def checkpoint_plan(folder: Path) -> TrainingPlan | None:
    """The plan of the run that left a checkpoint in the folder; None where there is no checkpoint."""
    import torch

    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    return TrainingPlan(**torch.load(path, map_location="cpu", weights_only=True, mmap=True)["plan"])


def check_start(plan: TrainingPlan, folder: Path, resume: bool) -> None:
    """Refuse to run over a checkpoint, to go on from none, or to go on as another run.

    Raises
    ------
    BadInput
    """
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder} is not a folder: name one for the model and its checkpoint")
    left = checkpoint_plan(folder)
    if resume and left is None:
        raise BadInput(f"{folder} holds no {CHECKPOINT_FILE} to go on from: leave out --resume to begin a run there")
    if left is not None and not resume:
        raise BadInput(f"{folder} holds the checkpoint of a run: pass --resume to go on, or another folder to begin")
    if left is not None and (left.seed, left.batch) != (plan.seed, plan.batch):
        raise BadInput(
            f"the checkpoint in {folder} is of a run with --seed {left.seed} --batch {left.batch}, asked for is "
            f"--seed {plan.seed} --batch {plan.batch}: pass the same, or another folder"
        )


def steps_in(minutes: float, plan: TrainingPlan) -> TrainingPlan:
    """The plan with as many steps as take about so many minutes here, timed on a few batches with a scratch model."""
    from .training_batches import draw_batch

    trainee = _Trainee(plan)
    drawn = [draw_batch(plan.seed, step, plan.batch, False) for step in range(2)]
    trainee.step(drawn[0], 0.0, True)
    started = time.monotonic()
    for batch in drawn * 4:
        trainee.step(batch, 0.0, True)
    seconds = (time.monotonic() - started) / (4 * len(drawn))
    return replace(plan, steps=max(1, int(60 * minutes / seconds)))


def train(plan: TrainingPlan, folder: Path, resume: bool, report: Callable[[str], None]) -> tuple[Any, float]:
    """Train a model and return it with the seconds that training took.

    Parameters
    ----------
    plan
        How long and how.
    folder
        Where checkpoints go.
    resume
        Go on from the folder's checkpoint. With fewer steps in the plan than before the learning
        rate drops to where the shorter run would be.
    report
        Is told a line of news now and then.

    Raises
    ------
    BadInput
        As `check_start` does.
    """
    check_start(plan, folder, resume)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / CHECKPOINT_FILE
    trainee = _Trainee(plan)
    development = _Development()
    first, seconds = trainee.restore(checkpoint) if resume else (0, 0.0)
    opening = int(_OPENING_SHARE * plan.steps)
    started, recent = time.monotonic() - seconds, []
    trainee.model.train()
    stream = batches(plan.seed, first, plan.steps, plan.batch, opening, plan.draw_processes)
    for step, batch in enumerate(stream, start=first):
        recent.append(trainee.step(batch, plan.learning_rate(step), step < _HEADS_UNTIL * plan.steps))
        done = step + 1
        if done % 100 == 0:
            spent = time.monotonic() - started
            speed = (done - first) * plan.batch / (spent - seconds)
            left = (plan.steps - done) * plan.batch / speed / 60
            report(
                f"step {done:,} of {plan.steps:,}: loss {np.mean(recent[-100:]):.3f}, "
                f"{speed:.0f} images/s, {spent / 60:.1f} min, {left:.0f} min left"
            )
        if done % plan.checkpoint_every == 0 or done == plan.steps:
            shares = development.measure(trainee.model, trainee.tokenizer)
            report("development: " + ", ".join(f"{name} {share:.3f}" for name, share in shares.items()))
            trainee.save(checkpoint, done, time.monotonic() - started, plan)
    trainee.model.eval()
    return trainee.model, time.monotonic() - started
