"""Vectors agree with open_clip's own path, one picture at a time, in every precision; one that does not is refused."""

from __future__ import annotations

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from tailwag.embed.decoding import decode_image
from tailwag.embed.encoder import PRECISIONS, Encoder
from tailwag.embed.models import load_model
from tailwag.embed.open_clip_loading import import_open_clip
from tailwag.errors import BadInput

from .shards import picture

LEAST = {"float32": 0.9999, "bfloat16": 0.999, "float16": 0.999}
TEXTS = ["a dog", "", "two people on a beach, seen from far away", "a very long caption " * 30]


def reference(name: str, images, texts) -> tuple[np.ndarray, np.ndarray]:
    """open_clip's own preprocessing, `encode_image` and `encode_text`, one by one, in float32."""
    import torch

    open_clip = import_open_clip()
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    tokenizer = open_clip.get_tokenizer(name)
    model.eval()
    with torch.no_grad():
        pictures = [model.encode_image(preprocess(image)[None], normalize=True)[0] for image in images]
        captions = [model.encode_text(tokenizer([text]), normalize=True)[0] for text in texts]
    return torch.stack(pictures).numpy(), torch.stack(captions).numpy()


def least_cosine(expected: np.ndarray, found: np.ndarray) -> float:
    assert found.dtype == np.float16
    wide = found.astype(np.float64)
    return float((np.sum(expected * wide, axis=1) / np.linalg.norm(wide, axis=1)).min())


def require_agreement(name: str, images, device: str, precision: str) -> None:
    encoder = Encoder.load(name, device=device, precision=precision)
    assert encoder.precision == precision
    pictures, captions = reference(name, images, TEXTS)
    assert least_cosine(pictures, encoder.encode_images(images, batch_size=5)) >= LEAST[precision]
    assert least_cosine(captions, encoder.encode_texts(TEXTS, batch_size=3)) >= LEAST[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_tiny_model(tiny_model, precision):
    images = [Image.open(io.BytesIO(picture(seed, (50 + seed, 40)))) for seed in range(12)]
    require_agreement(tiny_model, images, "cpu", precision)


def photographs(data, count: int) -> list[Image.Image]:
    with tarfile.open(data / "data" / "photos" / "coco" / "00000.tar") as tar:
        members = [member for member in tar if member.name.endswith(".jpg")][:count]
        return [decode_image(tar.extractfile(member).read()) for member in members]


@pytest.mark.photos
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_photographs_and_a_trained_model(data, precision):
    count = 24 if precision == "float32" else 6  # a CPU takes many times as long in less than float32
    require_agreement(f"local-dir:{data / 'models' / 'mini'}", photographs(data, count), "cpu", precision)


@pytest.mark.photos
def test_a_trained_model_that_bfloat16_changes_is_not_run_in_it(data):
    """This one's narrow convolutions do not bear eight bits: photographs came down to .996."""
    with pytest.raises(BadInput, match="in bfloat16 on cpu makes other vectors than in float32"):
        Encoder.load(f"local-dir:{data / 'models' / 'mini'}", device="cpu", precision="bfloat16")


@pytest.mark.gpu
@pytest.mark.photos
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_photographs_on_a_gpu(data, precision):
    require_agreement(f"local-dir:{data / 'models' / 'mini'}", photographs(data, 24), "cuda", precision)


@pytest.mark.slow
def test_a_compiled_model(tiny_model):
    images = [Image.open(io.BytesIO(picture(seed, (50 + seed, 40)))) for seed in range(7)]
    encoder = Encoder.load(tiny_model, device="cpu", compile=True)
    assert least_cosine(reference(tiny_model, images, [""])[0], encoder.encode_images(images, 3)) >= LEAST["float32"]


def test_a_cpu_computes_in_float32_unless_asked(tiny_model):
    assert Encoder.load(tiny_model, device="cpu").precision == "float32"


@pytest.mark.gpu
def test_a_gpu_computes_in_float16_if_that_keeps_the_vectors(tiny_model):
    assert Encoder.load(tiny_model, device="cuda").precision == "float16"


def test_a_precision_that_changes_the_vectors_is_refused(tiny_model):
    """Planted: weights so large that float16 does not hold what they make."""
    import torch

    model = load_model(tiny_model)
    with torch.no_grad():
        model.network.visual.conv1.weight.mul_(1e6)
    with pytest.raises(BadInput, match=r"in float16 on cpu makes other vectors .* pass --precision float32"):
        Encoder(model, torch.device("cpu"), "float16")


def test_what_overflows_is_computed_again_in_float32_and_counted(tiny_model):
    """Planted: a model that overflows for one of the pictures, where less than float32 is used."""
    encoder = Encoder.load(tiny_model, device="cpu", precision="float16")
    images = [Image.open(io.BytesIO(picture(seed))) for seed in range(4)]
    pixels = np.stack([encoder.preprocessing.pixels(image) for image in images])
    expected, true_encode = Encoder.load(tiny_model, device="cpu").encode_pixels(pixels), encoder._encode_image

    def overflowing(prepared):
        features = true_encode(prepared)
        if features.dtype != prepared.dtype:  # under autocast
            features[2] = float("inf")
        return features

    encoder._encode_image = overflowing
    found = encoder.encode_pixels(pixels)
    assert encoder.recomputed == 1
    assert np.array_equal(found[2], expected[2])
    assert np.isfinite(found).all()


def test_an_unknown_precision_is_refused(tiny_model):
    with pytest.raises(BadInput, match="no precision 'int8': pass one of float32, bfloat16, float16"):
        Encoder.load(tiny_model, device="cpu", precision="int8")  # type: ignore[arg-type]


def test_bytes_and_open_clips_own_preprocessing_give_the_same_vectors(tiny_model):
    import torch

    encoder = Encoder.load(tiny_model, device="cpu")
    images = [Image.open(io.BytesIO(picture(seed, (61, 47 + seed)))) for seed in range(4)]
    prepared = torch.stack([encoder.preprocess(image) for image in images])
    assert np.array_equal(encoder.encode_pixels(prepared), encoder.encode_images(images))
