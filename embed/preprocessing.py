"""A model's own preprocessing in two halves: Pillow makes bytes of the model's size, the device makes numbers of them.

The first half needs no torch, so that processes which only decode start at once; the second runs where the model runs,
so that a quarter of the bytes travel. Together they give, to the bit, what open_clip's own preprocessing gives: a model
is checked for that when it is loaded. Not here: decoding (`decoding.py`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tailwag.errors import BadInput

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

_RESIZE_MODES = ("shortest", "longest", "squash")


@dataclass(frozen=True)
class Preprocessing:
    """How pictures become what a model sees.

    Attributes
    ----------
    height, width
        Of the model's input, in pixels.
    mean, std
        Of each channel, in units of 0 to 1.
    bilinear
        Whether pictures are resized bilinearly; else bicubically.
    resize_mode
        ``shortest`` (fill, then crop), ``longest`` (fit, then pad) or ``squash``.
    fill_color
        What pads, from 0 to 255.
    """

    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bilinear: bool
    resize_mode: str
    fill_color: int

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the preprocessing that a `Space` records.

        Raises
        ------
        BadInput
            For a way of resizing, or numbers of channels, that are not known here.
        """
        values = json.loads(text)
        size = values["size"]
        height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
        mean, std = tuple(values["mean"]), tuple(values["std"])
        mode = values.get("resize_mode") or "shortest"
        if mode not in _RESIZE_MODES or values.get("mode", "RGB") != "RGB" or (len(mean), len(std)) != (3, 3):
            raise BadInput(
                f"the model's preprocessing is not one that tailwag knows ({text}): it knows three channels, RGB, and "
                f"resize_mode {', '.join(_RESIZE_MODES)}"
            )
        # Whatever is not bilinear is bicubic to open_clip, "random" too. On inputs that are not square it resizes the
        # shortest side bicubically whatever is asked for.
        bilinear = values.get("interpolation") == "bilinear" and not (mode == "shortest" and height != width)
        return cls(height, width, mean, std, bilinear, mode, values.get("fill_color") or 0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one picture's pixels: height, width, channels."""
        return self.height, self.width, 3

    def pixels(self, image: Image) -> np.ndarray:
        """Resize, crop and convert one picture.

        Parameters
        ----------
        image
            Decoded, in any mode.

        Returns
        -------
        numpy.ndarray
            (height, width, 3) uint8.
        """
        from PIL.Image import Resampling

        # Converted last, as open_clip does it: resizing a palette or an alpha channel gives other values.
        resampling = Resampling.BILINEAR if self.bilinear else Resampling.BICUBIC
        resized = image.resize(self._resized_size(image.width, image.height), resampling)
        cropped = _crop_or_pad(resized, self.width, self.height, self.fill_color)
        return np.asarray(cropped.convert("RGB"))

    def _resized_size(self, width: int, height: int) -> tuple[int, int]:
        if self.resize_mode == "squash":
            return self.width, self.height
        if self.resize_mode == "shortest" and self.height == self.width:
            # As torchvision: the short side exactly, the long one rounded down.
            side = self.height
            return (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
        pick = max if self.resize_mode == "longest" else min
        ratio = pick(height / self.height, width / self.width)
        return round(width / ratio), round(height / ratio)

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn bytes into what the model takes, on the device where they are.

        Parameters
        ----------
        pixels
            (n, height, width, 3) uint8.

        Returns
        -------
        torch.Tensor
            (n, 3, height, width) float32; its memory stays in the order of the bytes, channels last, in which
            convolutions are quickest.
        """
        import torch

        mean = torch.tensor(self.mean, device=pixels.device)
        std = torch.tensor(self.std, device=pixels.device)
        # The operations of torchvision, in its order: another order rounds otherwise.
        return pixels.to(torch.float32).div_(255).sub_(mean).div_(std).permute(0, 3, 1, 2)

    def require_parity(self, reference: Any, source: str) -> None:
        """Make sure that both halves give what open_clip's own preprocessing gives, on a few awkward pictures.

        Parameters
        ----------
        reference
            open_clip's transform: a picture to (3, height, width) float32.
        source
            The library and its version, for the message.

        Raises
        ------
        BadInput
            When one number differs.
        """
        import torch

        for image in probe_pictures():
            expected = reference(image)
            found = self.normalise(torch.from_numpy(self.pixels(image).copy())[None])[0]
            if expected.shape != found.shape or not torch.equal(expected, found):
                raise BadInput(
                    f"{source} prepares a picture of {image.width} x {image.height} pixels ({image.mode}) otherwise "
                    "than tailwag does: install the version of open_clip_torch and torchvision that constraints.txt "
                    "names, and report this"
                )


def _crop_or_pad(image: Image, width: int, height: int, fill: int) -> Image:
    """Cut out the middle, padding first what is too small; rounded as torchvision rounds."""
    if width > image.width or height > image.height:
        from PIL import ImageOps

        across, down = max(0, width - image.width), max(0, height - image.height)
        border = (across // 2, down // 2, (across + 1) // 2, (down + 1) // 2)
        bands = len(image.getbands())
        image = ImageOps.expand(image, border, fill if bands == 1 else (fill,) * bands)
    if (width, height) == image.size:
        return image
    left, top = round((image.width - width) / 2.0), round((image.height - height) / 2.0)
    return image.crop((left, top, left + width, top + height))


def probe_pictures() -> list[Image]:
    """Give small pictures of several shapes and modes, the same ones always."""
    from PIL import Image as PillowImage

    noise = np.random.default_rng(0).integers(0, 256, (61, 97, 4), dtype=np.uint8)
    wide = PillowImage.fromarray(noise[..., :3])
    return [
        wide,
        wide.transpose(PillowImage.Transpose.ROTATE_90),
        wide.resize((2, 5)),
        wide.resize((301, 300)),
        wide.convert("L"),
        PillowImage.fromarray(noise),  # with transparency
        wide.convert("P"),
    ]
