"""The two halves of preprocessing give, to the bit, what open_clip's own gives."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tailwag.embed.decoding import decode_image
from tailwag.embed.open_clip_loading import import_open_clip
from tailwag.embed.preprocessing import Preprocessing, probe_pictures
from tailwag.errors import BadInput

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def settings_of(**changed) -> dict:
    plain = {"size": 32, "mode": "RGB", "mean": MEAN, "std": STD, "interpolation": "bicubic", "fill_color": 0}
    return plain | {"resize_mode": "shortest"} | changed


def open_clips(values: dict):
    transform = import_open_clip().transform
    return transform.image_transform_v2(transform.PreprocessCfg(**values), is_train=False)


def by_halves(preprocessing: Preprocessing, image: Image.Image) -> np.ndarray:
    import torch

    pixels = preprocessing.pixels(image)
    assert (pixels.dtype, pixels.shape) == (np.uint8, preprocessing.shape)
    return preprocessing.normalise(torch.from_numpy(pixels.copy())[None])[0].numpy()


@given(
    width=st.integers(1, 120),
    height=st.integers(1, 120),
    image_mode=st.sampled_from(["RGB", "L", "LA", "RGBA", "P", "CMYK", "1"]),
    size=st.sampled_from([24, [24, 24], [20, 32], [32, 20]]),
    resize_mode=st.sampled_from(["shortest", "longest", "squash"]),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
    fill_color=st.sampled_from([0, 9]),
)
@settings(max_examples=300, deadline=None)
def test_any_picture_and_setting(width, height, image_mode, size, resize_mode, interpolation, fill_color):
    values = settings_of(size=size, resize_mode=resize_mode, interpolation=interpolation, fill_color=fill_color)
    noise = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise).convert(image_mode)
    try:
        expected = open_clips(values)(image).numpy()
    except Exception:  # a mode whose channels cannot be padded, a side that becomes 0: refused here as there
        with pytest.raises(Exception):  # noqa: B017
            by_halves(Preprocessing.from_json(json.dumps(values)), image)
        return
    assert np.array_equal(by_halves(Preprocessing.from_json(json.dumps(values)), image), expected)


@pytest.mark.photos
@pytest.mark.parametrize("part", ["coco", "caltech101"])
def test_photographs(data, part):
    values = settings_of(size=224)
    preprocessing, reference = Preprocessing.from_json(json.dumps(values)), open_clips(values)
    with tarfile.open(data / "data" / "photos" / part / "00000.tar") as tar:
        members = [member for member in tar if member.name.endswith(".jpg")][:40]
        for member in members:
            image = decode_image(io.BytesIO(tar.extractfile(member).read()).getvalue())
            assert np.array_equal(by_halves(preprocessing, image), reference(image).numpy())


@pytest.mark.parametrize("values", [{"resize_mode": "tile"}, {"mean": (0.5,), "std": (0.5,)}, {"mode": "L"}])
def test_what_is_not_known_is_refused(values):
    with pytest.raises(BadInput, match="the model's preprocessing is not one that tailwag knows"):
        Preprocessing.from_json(json.dumps(settings_of(**values)))


def test_a_library_that_prepares_otherwise_is_refused():
    """Planted: the same transform with pictures moved by a grey value."""
    preprocessing, reference = Preprocessing.from_json(json.dumps(settings_of())), open_clips(settings_of())
    preprocessing.require_parity(reference, "open_clip_torch 1")
    with pytest.raises(BadInput, match=r"open_clip_torch 9 prepares a picture of 97 x 61 pixels \(RGB\) otherwise"):
        preprocessing.require_parity(lambda image: reference(image) + 1 / 255, "open_clip_torch 9")


def test_probes_are_of_several_shapes_and_modes():
    assert len({(image.size, image.mode) for image in probe_pictures()}) == len(probe_pictures())
