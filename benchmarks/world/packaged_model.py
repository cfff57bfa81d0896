"""The model folder in open_clip's `local-dir` layout: its configuration, and writing it.

How the weights come to be is in `training.py`, how good they are in `measuring.py`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tailwag.errors import NotFound

MODEL_FOLDER = Path(__file__).parent / "model"
CONFIG_FILE = "open_clip_config.json"
WEIGHTS_FILE = "open_clip_model.safetensors"
MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)

# Two thirds of the weights are the text side's word table, which open_clip's tokenizer fixes at 49,408 rows; the rest
# is sized so that float16 weights stay under 12 MB.
MODEL_CONFIG: dict[str, Any] = {
    "embed_dim": 256,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 2, 1], "width": 16, "head_width": 64, "patch_size": None},
    "text_cfg": {"context_length": 36, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 3},
}


@dataclass(frozen=True)
class TrainingRecord:
    """What is worth knowing of the run that made some weights; travels inside their file."""

    steps: int
    batch: int
    seed: int
    threads: int
    minutes: float


def write_model(model: Any, record: TrainingRecord, folder: Path) -> None:
    """Write configuration and float16 weights; each file whole or not at all."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    preprocessing = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    config = {"model_cfg": MODEL_CONFIG, "preprocess_cfg": preprocessing}
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n")
    tensors = {
        name: (tensor.to(torch.float16) if tensor.is_floating_point() else tensor).contiguous().clone()
        for name, tensor in model.state_dict().items()
    }
    unfinished = folder / f"{WEIGHTS_FILE}.tmp"
    save_file(tensors, unfinished, metadata={"format": "pt", "tailwag.training": json.dumps(asdict(record))})
    unfinished.chmod(0o644)  # safetensors writes for its owner alone; a package is read by everyone
    unfinished.replace(folder / WEIGHTS_FILE)


def read_record(folder: Path) -> TrainingRecord:
    """Read how a folder's weights were trained.

    Raises
    ------
    NotFound
        Where the folder holds no weights that `write_model` wrote.
    """
    from safetensors import safe_open

    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise NotFound(f"{path} does not exist: train a model first, `tailwag world train --out {folder}`")
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    if "tailwag.training" not in metadata:
        raise NotFound(f"{path} does not say how it was trained: only models of `tailwag world train` can be measured")
    return TrainingRecord(**json.loads(metadata["tailwag.training"]))
