"""From untrusted bytes to a decoded picture, or the reason why not. Pillow is the reference decoder.

Not here: resizing and normalising, which is the model's own preprocessing (`preprocessing.py`); doing it in processes
(`pixel_workers.py`).
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tailwag.errors import TailwagError

from .failures import Reason

if TYPE_CHECKING:
    from PIL.Image import Image

    from .preprocessing import Preprocessing

# Pillow's own warning limit: a quarter of a gigabyte once decoded to RGB.
MAX_PIXELS = 89_478_485
MAX_FILE_BYTES = 100 << 20
# A model resizes the short side to some 224 pixels: a picture of 1 x 100,000 would become one of 224 x 22 million.
MAX_ASPECT = 500
# Formats that decode in process. Pillow would hand others (EPS) to an outside program.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm")


class UndecodableImage(TailwagError):
    """Bytes that do not become a picture; carries the reason apart from the detail."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Decoded:
    """What is known of a picture that became pixels: its size as stored, and the sha256 of its file."""

    width: int
    height: int
    sha256: str


@dataclass(frozen=True)
class Undecodable:
    """Why a file became no pixels."""

    reason: Reason
    detail: str


class Decoder(Protocol):
    """Makes a model's pixels of files. Called from several threads at once."""

    def decode(self, files: Sequence[bytes]) -> tuple[np.ndarray, list[Decoded | Undecodable]]:
        """Decode a batch.

        Returns
        -------
        tuple
            (m, height, width, 3) uint8 with the pictures that decoded, in order, and what came of each file.
        """
        ...


class InThisThread:
    """The decoder that decodes where it is called. On a CPU the threads that run the model also decode."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._preprocessing = preprocessing

    def decode(self, files: Sequence[bytes]) -> tuple[np.ndarray, list[Decoded | Undecodable]]:
        """Decode a batch, one file after the other."""
        pixels = np.empty((len(files), *self._preprocessing.shape), np.uint8)
        outcomes = decode_into(pixels, files, self._preprocessing)
        return pixels[: sum(isinstance(outcome, Decoded) for outcome in outcomes)], outcomes


def decode_into(
    pixels: np.ndarray, files: Sequence[bytes], preprocessing: Preprocessing
) -> list[Decoded | Undecodable]:
    """Decode files one after the other, and prepare them for a model.

    Parameters
    ----------
    pixels
        (n, height, width, 3) uint8: pictures are written here one behind the other; what does not decode takes no
        place.
    files
        At most n, from anyone.
    preprocessing
        The model's.

    Returns
    -------
    list
        What came of each file.
    """
    outcomes: list[Decoded | Undecodable] = []
    place = 0
    for data in files:
        try:
            image = decode_image(data)
            pixels[place] = preprocessing.pixels(image)
        except UndecodableImage as error:
            outcomes.append(Undecodable(error.reason, error.detail))
            continue
        except Exception as error:  # a mode that Pillow cannot convert: this file's fault, not the job's
            outcomes.append(Undecodable(Reason.DAMAGED_IMAGE, f"{type(error).__name__}: {error}"[:200]))
            continue
        place += 1
        outcomes.append(Decoded(image.width, image.height, hashlib.sha256(data).hexdigest()))
    return outcomes


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Image:
    """Decode a picture completely.

    Parameters
    ----------
    data
        A file's bytes, from anyone.
    max_pixels
        Width times height above which nothing is decoded: the header is read first.

    Returns
    -------
    PIL.Image.Image
        Loaded, in the file's own mode.

    Raises
    ------
    UndecodableImage
        With the reason: not an image, truncated, damaged, a decompression bomb, too large a file, values that
        are no grey of eight or sixteen bits.
    """
    from PIL import Image, UnidentifiedImageError

    if len(data) > MAX_FILE_BYTES:
        raise UndecodableImage(Reason.FILE_TOO_LARGE, f"{len(data):,} bytes, the limit is {MAX_FILE_BYTES:,}")
    _ignore_bomb_warnings()
    try:
        image = Image.open(BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise UndecodableImage(Reason.DECOMPRESSION_BOMB, str(error)) from None
    except UnidentifiedImageError:
        raise UndecodableImage(Reason.NOT_AN_IMAGE, f"{len(data):,} bytes beginning {data[:12]!r}") from None
    except Exception as error:  # Pillow's plugins raise whatever a damaged header makes them trip over
        raise UndecodableImage(Reason.DAMAGED_IMAGE, _short(error)) from None
    if image.width * image.height > max_pixels:
        raise UndecodableImage(
            Reason.DECOMPRESSION_BOMB, f"{image.width} x {image.height} pixels, the limit is {max_pixels:,}"
        )
    if max(image.size) > MAX_ASPECT * min(image.size):
        raise UndecodableImage(
            Reason.DECOMPRESSION_BOMB,
            f"{image.width} x {image.height} pixels, one side is more than {MAX_ASPECT} times the other",
        )
    try:
        image.load()
    except Exception as error:
        reason = Reason.TRUNCATED_IMAGE if "truncated" in str(error).lower() else Reason.DAMAGED_IMAGE
        raise UndecodableImage(reason, _short(error)) from None
    return _eight_bits(image)


@cache
def _ignore_bomb_warnings() -> None:
    """Turn off Pillow's warning about large pictures: the limit is enforced here, so it would say the same again.

    Once and for the process: pictures are decoded in several threads, among which filters cannot be put back safely.
    """
    from PIL.Image import DecompressionBombWarning

    warnings.filterwarnings("ignore", category=DecompressionBombWarning)


def _eight_bits(image: Image) -> Image:
    """Scale grey values of more than eight bits, which Pillow's own conversion would cut off: to it they are white."""
    if image.mode != "I" and image.mode != "F" and not image.mode.startswith("I;16"):
        return image
    import numpy as np
    from PIL import Image as PillowImage

    values = np.asarray(image)
    low, high = values.min(), values.max()
    # Pillow opens grey of sixteen bits as 32-bit integers in some formats; in others those may be anything.
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    if image.mode == "F" or low < 0 or high > (65535 if sixteen else 255):
        raise UndecodableImage(Reason.UNSUPPORTED_PIXELS, f"mode {image.mode}, {low:g} to {high:g}")
    if sixteen:
        values = (values.astype(np.uint32) + 128) // 257  # 65535 / 255 is 257: to the nearest
    return PillowImage.fromarray(values.astype(np.uint8))


def _short(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
