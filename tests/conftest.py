"""What several test files need: the folder of real data, a small real model, shards and corpora made on the spot."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tailwag.retrieval.counting.cuda.driver import why_no_gpu

from .object_store import ObjectStore, running_store

ROOT = Path(__file__).resolve().parent.parent
if why_no_gpu() is not None:  # Triton decides when it is imported first whether it compiles its kernels
    os.environ["TRITON_INTERPRET"] = "1"


def _data_folder() -> Path:
    return (ROOT / os.environ.get("TAILWAG_TEST_DATA", "../shared")).resolve()


def pytest_collection_modifyitems(items):
    folder = _data_folder()
    absent = {"photos": None if folder.is_dir() else f"no real data in {folder}: set TAILWAG_TEST_DATA"}
    if any("gpu" in item.keywords for item in items):
        import torch

        absent["gpu"] = None if torch.cuda.is_available() else "no CUDA GPU"
    for item in items:
        for mark, reason in absent.items():
            if reason and mark in item.keywords:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real photographs, vectors and models; a test that takes it is marked `photos`."""
    return _data_folder()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> str:
    """A real open_clip model, untrained and tiny, in local-dir layout: `local-dir:FOLDER`."""
    return "local-dir:" + str(make_tiny_model(tmp_path_factory.mktemp("models") / "tiny"))


def make_tiny_model(folder: Path, seed: int = 0, **preprocessing) -> Path:
    """Write an untrained open_clip model of 32 dimensions for pictures of 32 pixels."""
    import torch
    from safetensors.torch import save_file

    from tailwag.embed.open_clip_loading import import_open_clip

    open_clip = import_open_clip()
    config = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    torch.manual_seed(seed)
    model = open_clip.CLIP(**config)
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocessing}))
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture(scope="session")
def object_store() -> Iterator[ObjectStore]:
    """A real S3-compatible server."""
    with running_store() as store:
        yield store
