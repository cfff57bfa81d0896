"""The encoder is open_clip's model as open_clip itself would run it, and knows its own space."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tailwag.embed.encoder import Encoder
from tailwag.embed.open_clip_loading import import_open_clip
from tailwag.errors import BadInput, NotFound, SpaceMismatch

from ..conftest import make_tiny_model
from .shards import picture


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return Encoder.load(tiny_model)


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    left, right = left.astype(float), right.astype(float)
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.sum(left * right, axis=1) / lengths


def test_vectors_are_those_of_open_clips_own_path(encoder, tiny_model):
    import torch

    open_clip = import_open_clip()
    model, _, preprocess = open_clip.create_model_and_transforms(tiny_model)
    model.eval()
    images = [Image.open(io.BytesIO(picture(seed, (50 + seed, 40)))) for seed in range(5)]
    texts = ["a dog", "", "a very long caption " * 30]
    with torch.no_grad():
        expected_images = model.encode_image(torch.stack([preprocess(image) for image in images]), normalize=True)
        expected_texts = model.encode_text(open_clip.get_tokenizer(tiny_model)(texts), normalize=True)
    for expected, found in (
        (expected_images.numpy(), encoder.encode_images(images, batch_size=2)),
        (expected_texts.numpy(), encoder.encode_texts(texts, batch_size=2)),
    ):
        assert found.dtype == np.float16
        assert cosines(expected, found).min() >= 0.9999


def test_nothing_gives_nothing(encoder):
    assert encoder.encode_texts([]).shape == encoder.encode_images([]).shape == (0, 32)


def test_the_same_weights_in_another_folder_and_file_are_the_same_space(encoder, tiny_model, tmp_path):
    import torch
    from safetensors.torch import load_file

    folder = Path(tiny_model.removeprefix("local-dir:"))
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "open_clip_model.safetensors").unlink()
    torch.save(load_file(folder / "open_clip_model.safetensors"), tmp_path / "copy" / "open_clip_pytorch_model.bin")
    assert Encoder.load(f"local-dir:{tmp_path / 'copy'}").space.fingerprint == encoder.space.fingerprint


def changed(tmp_path, model=None, preprocessing=None) -> Encoder:
    folder = make_tiny_model(tmp_path / "changed")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"] |= model or {}
    config["preprocess_cfg"] |= preprocessing or {}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return Encoder.load(f"local-dir:{folder}")


def test_another_activation_is_another_space(encoder, tmp_path):
    other = changed(tmp_path, model={"quick_gelu": True})
    assert other.space.weights == encoder.space.weights
    with pytest.raises(SpaceMismatch, match="they differ in architecture"):
        other.space.require_same(encoder.space, here="", there="", remedy="")


def test_another_preprocessing_is_another_space(encoder, tmp_path):
    other = changed(tmp_path, preprocessing={"interpolation": "bilinear"})
    assert other.space.weights == encoder.space.weights
    assert other.space.fingerprint != encoder.space.fingerprint


def test_a_default_spelt_out_is_the_same_space(encoder, tmp_path):
    assert changed(tmp_path, model={"quick_gelu": False}).space.fingerprint == encoder.space.fingerprint


def test_a_query_with_another_model_is_refused(encoder, tmp_path):
    other = f"local-dir:{make_tiny_model(tmp_path / 'other', seed=5)}"
    with pytest.raises(SpaceMismatch, match=r"they differ in weights: pass --model local-dir:"):
        Encoder.for_space(encoder.space, model=other)


@pytest.mark.parametrize(
    ("model", "pretrained", "error", "message"),
    [
        ("ViT-B-3", "openai", NotFound, "open_clip knows no model 'ViT-B-3': did you mean ViT-B-32"),
        ("ViT-B-32", None, BadInput, "would be random: pass --pretrained, one of openai, "),
        ("ViT-B-32", "laion9b", NotFound, "has no weights 'laion9b': pass --pretrained, one of openai, "),
        ("local-dir:/nowhere", None, NotFound, "there is no open_clip_config.json in /nowhere"),
        ("tailwag:sea", None, NotFound, "no model 'tailwag:sea' ships with tailwag; it has tailwag:world"),
    ],
)
def test_a_model_that_is_not_there_is_one_line(model, pretrained, error, message):
    with pytest.raises(error, match=message) as raised:
        Encoder.load(model, pretrained)
    assert "\n" not in str(raised.value)


def test_a_folder_without_weights_is_refused(tiny_model, tmp_path):
    shutil.copytree(tiny_model.removeprefix("local-dir:"), tmp_path / "copy")
    (tmp_path / "copy" / "open_clip_model.safetensors").unlink()
    with pytest.raises(NotFound, match="cannot be loaded"):
        Encoder.load(f"local-dir:{tmp_path / 'copy'}")


def test_a_device_that_is_not_there_is_refused(tiny_model):
    with pytest.raises(BadInput, match="device 'cuda:63' cannot be used here .* pass --device cpu"):
        Encoder.load(tiny_model, device="cuda:63")


@pytest.mark.gpu
def test_the_gpu_gives_the_same_vectors(tiny_model, encoder):
    on_gpu = Encoder.load(tiny_model, device="cuda")
    assert on_gpu.space == encoder.space
    texts = ["a dog", "a cat"]
    assert cosines(on_gpu.encode_texts(texts), encoder.encode_texts(texts)).min() >= 0.9999


def run_python(code: str, *path: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(path), "HOME": "/tmp"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


def fake_torchvision(folder: Path, body: str) -> str:
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(body)
    return str(folder)


ASK = (
    "from tailwag.embed import open_clip_loading as loading\n"
    "loading._import_torchvision()\n"
    "print(len(loading._kept_libraries))"
)


def test_a_torchvision_that_imports_is_left_alone(tmp_path):
    assert run_python(ASK, fake_torchvision(tmp_path, "")).stdout.strip() == "0"


def test_the_missing_operators_are_declared_after_that_very_failure(tmp_path):
    needs_nms = "import torch\ntorch.library.register_fake('torchvision::nms')(lambda dets, scores, threshold: dets)"
    assert run_python(ASK, fake_torchvision(tmp_path, needs_nms)).stdout.strip() == "1"


def test_any_other_failure_of_torchvision_stays_one(tmp_path):
    told = run_python(ASK, fake_torchvision(tmp_path, "raise RuntimeError('the disk is on fire')"))
    assert told.returncode == 1
    assert "the disk is on fire" in told.stderr
