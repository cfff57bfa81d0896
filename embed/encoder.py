"""An open_clip model that turns pictures and captions into unit vectors, and the space it makes them in.

Evaluation and inference mode, the model's own preprocessing, float32 or less where that was tried. Not here: loading a
model (`models.py`), which samples are encoded (`job/`).
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from tailwag.errors import BadInput, Caution, NotFound

from .device_batches import Compute, DeviceBatches, quickest
from .models import PROBE_TEXTS, LoadedModel, last_line, load_model
from .preprocessing import Preprocessing, probe_pictures
from .space import Space
from .text_tower import TextTower, Tokens

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

Precision = Literal["float32", "bfloat16", "float16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
# A precision is used where every probe's vector has at least this cosine with the one made in float32.
LEAST_COSINE = 0.999
# On a GPU larger batches than the last hardly gain; on a CPU they leave the caches.
_GPU_BATCHES = [64, 128, 256, 512, 1024, 2048]
_CPU_BATCHES = [8, 16, 32, 64]


class Encoder:
    """A loaded model. Make one with `Encoder.load` or `Encoder.for_space`.

    Attributes
    ----------
    space
        The embedding space of everything it encodes.
    device
        Where it runs.
    precision
        In which numbers it computes. No part of the space: vectors of all three are compared with one another.
    preprocessing
        Makes a model's pixels of a picture, without torch.
    """

    def __init__(
        self, model: LoadedModel, device: torch.device, precision: Precision | None = None, compile: bool = False
    ) -> None:
        import torch

        self.space: Space = model.space
        self.device = device
        self.precision: Precision = "float32"
        self.preprocessing: Preprocessing = model.preprocessing
        self._transform = model.transform
        self._text = TextTower(model.network, model.tokenizer, PROBE_TEXTS)
        self._network = model.network.to(device).to(memory_format=torch.channels_last)
        self._encode_image = torch.compile(self._network.encode_image) if compile else self._network.encode_image
        self._batches = DeviceBatches(device)
        self._recomputed = 0
        self._counting = threading.Lock()
        self._choose_precision(precision)

    @classmethod
    def load(
        cls,
        model: str,
        pretrained: str | None = None,
        device: str | None = None,
        *,
        precision: Precision | None = None,
        compile: bool = False,
    ) -> Encoder:
        """Load a model with its weights.

        Parameters
        ----------
        model
            A name that open_clip knows (``ViT-B-32``), ``hf-hub:ORGANISATION/NAME``, ``local-dir:FOLDER`` or
            ``tailwag:world``, which ships with this package.
        pretrained
            open_clip's tag of the weights, or a file; None where the model's name says it all.
        device
            ``cpu``, ``cuda``, ``cuda:1``; None takes a GPU where one is found.
        precision
            ``float32``, ``bfloat16`` or ``float16``, by autocast. None takes float32 on a CPU, and on a GPU float16 if
            it keeps the probes' vectors (cosine at least `LEAST_COSINE`), else float32.
        compile
            Compile the image half with `torch.compile`: a minute at first, then quicker.

        Raises
        ------
        NotFound
            For a model, tag or folder that does not exist.
        BadInput
            For a model without weights, a device that is not there, a preprocessing that is not known, or a precision
            that changes the vectors.
        """
        target = find_device(device)
        return cls(load_model(model, pretrained), target, precision, compile)

    @classmethod
    def for_space(
        cls,
        space: Space,
        model: str | None = None,
        pretrained: str | None = None,
        device: str | None = None,
        *,
        precision: Precision | None = None,
        compile: bool = False,
    ) -> Encoder:
        """Load the model that a space names, and make sure that it still makes that space.

        Parameters
        ----------
        space
            The space of the corpus that is asked.
        model, pretrained
            Another name under which the same model is found; None for the space's own.
        device, precision, compile
            As for `load`.

        Raises
        ------
        SpaceMismatch
            When the loaded model makes another space.

        Warns
        -----
        Caution
            When only the model's name was recorded: then the model of that name is asked in the recorded space, and
            nothing but its dimension is compared.
        """
        if model is None:
            model, pretrained = space.model, pretrained or space.pretrained or None
        try:
            encoder = cls.load(model, pretrained, device, precision=precision, compile=compile)
        except NotFound as error:
            if space.model.startswith("local-dir:") and model == space.model:
                raise NotFound(f"{error}; if its folder has moved, pass --model local-dir:FOLDER") from error
            raise
        if not space.is_verified and encoder.space.dimension == space.dimension:
            warnings.warn(
                f"the vectors were imported as those of {space.title}, by name: that {encoder.space.title} as loaded "
                "here made them cannot be checked",
                Caution,
                stacklevel=2,
            )
            encoder.space = space
            return encoder
        space.require_same(
            encoder.space,
            here="the corpus holds",
            there="the query would use",
            remedy=f"pass {space.options}",
        )
        return encoder

    @property
    def recomputed(self) -> int:
        """How many vectors were not finite in less than float32 and were computed again in float32."""
        return self._recomputed

    @property
    def largest_batch(self) -> int | None:
        """The largest batch that fits into the device's memory, where a larger one did not; else None."""
        return self._batches.most

    def preprocess(self, image: Image) -> torch.Tensor:
        """Prepare one picture by open_clip's own preprocessing, the reference: (3, height, width) float32."""
        return self._transform(image)

    def encode_pixels(self, pixels: torch.Tensor | np.ndarray) -> np.ndarray:
        """Encode prepared pictures.

        Parameters
        ----------
        pixels
            (n, height, width, 3) uint8, as `preprocessing` makes them, or (n, 3, height, width) float32, as
            `preprocess` does.

        Returns
        -------
        numpy.ndarray
            (n, dimension) float16, unit length; rows that came out not finite stay so, for the caller to refuse.
        """
        import torch

        return self._unit_vectors(torch.as_tensor(pixels), self._image_features)

    def encode_images(self, images: Sequence[Image], batch_size: int = 64) -> np.ndarray:
        """Encode pictures: (n, dimension) float16, unit length."""
        batches = [
            self.encode_pixels(np.stack([self.preprocessing.pixels(image) for image in images[start:][:batch_size]]))
            for start in range(0, len(images), batch_size)
        ]
        return np.concatenate(batches) if batches else self._nothing()

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Tokenize texts; says which of them were longer than the model's context and are cut."""
        return self._text.tokenize(texts)

    def encode_tokens(self, tokens: Tokens) -> np.ndarray:
        """Encode tokens as one batch, of similar lengths at best: (n, dimension) float16, unit length."""
        if not len(tokens.ids):
            return self._nothing()
        longest = int(tokens.lengths.max())
        return self._unit_vectors(tokens.ids, lambda ids: self._text.encode(ids, longest))

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        """Encode texts: (n, dimension) float16, unit length. A text longer than the model's context is cut by it."""
        batches = [
            self.encode_tokens(self.tokenize(texts[start : start + batch_size]))
            for start in range(0, len(texts), batch_size)
        ]
        return np.concatenate(batches) if batches else self._nothing()

    @contextmanager
    def shared_by_threads(self) -> Iterator[None]:
        """Let several threads encode at once while the block runs, each on its own.

        On a CPU torch would spread every operation over all cores and wait for the slowest of them: beside threads that
        decode, or another process, it waits most of the time. With one core a thread nothing waits. The setting is the
        process's; it is put back afterwards.
        """
        import torch

        if self.device.type != "cpu":
            yield
            return
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)

    def images_per_second(self, workers: int = 1, batch_size: int = 32) -> float:
        """Measure the model alone, without decoding, on random pixels: a batch a thread to warm up, two timed."""
        pixels = np.random.default_rng(0).integers(0, 256, (batch_size, *self.preprocessing.shape), dtype=np.uint8)
        with self.shared_by_threads(), ThreadPoolExecutor(workers) as pool:
            list(pool.map(self.encode_pixels, [pixels] * workers))
            start = time.perf_counter()
            list(pool.map(self.encode_pixels, [pixels] * 2 * workers))
            return 2 * workers * batch_size / (time.perf_counter() - start)

    def find_batch_size(self, workers: int = 1) -> tuple[int, float]:
        """Try batch sizes, small ones first, until they are no quicker or do not fit into memory.

        Returns
        -------
        tuple[int, float]
            The best size, and how many images per second the model alone does with it.
        """
        sizes = _GPU_BATCHES if self.device.type == "cuda" else _CPU_BATCHES

        def rate(size: int) -> float:
            found = self.images_per_second(workers, size)
            # A batch that had to be cut is not of that size.
            return found if self.largest_batch is None or self.largest_batch >= size else 0.0

        return quickest(sizes, rate)

    def _choose_precision(self, wanted: Precision | None) -> None:
        """Take the precision that is asked for, or the quickest that keeps the vectors, after trying it on probes."""
        if wanted not in (None, *PRECISIONS):
            raise BadInput(f"no precision {wanted!r}: pass one of {', '.join(PRECISIONS)}")
        if wanted == "float32" or (wanted is None and self.device.type != "cuda"):
            return
        pixels = np.stack([self.preprocessing.pixels(image) for image in probe_pictures()])
        expected = np.concatenate([self.encode_pixels(pixels), self.encode_texts(PROBE_TEXTS)]).astype(np.float32)
        self.precision = wanted or "float16"
        found = np.concatenate([self.encode_pixels(pixels), self.encode_texts(PROBE_TEXTS)]).astype(np.float32)
        least = float((expected * found).sum(axis=1).min())
        if self._recomputed == 0 and least >= LEAST_COSINE:
            return
        self._recomputed = 0
        if wanted is not None:
            raise BadInput(
                f"{self.space.title} in {wanted} on {self.device} makes other vectors than in float32 (cosine down to "
                f"{least:.4f}, at least {LEAST_COSINE} is asked for): pass --precision float32"
            )
        self.precision = "float32"

    def _image_features(self, pixels: torch.Tensor) -> torch.Tensor:
        import torch

        prepared = self.preprocessing.normalise(pixels) if pixels.dtype == torch.uint8 else pixels
        return self._encode_image(prepared)

    def _unit_vectors(self, batch: torch.Tensor, features: Compute) -> np.ndarray:
        """Run one half of the model over a batch and bring its vectors to unit length, in float32."""
        import torch

        def in_float32(part: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.normalize(features(part).float(), dim=-1, eps=0.0)

        if self.precision == "float32":
            return self._batches.run(batch, in_float32).astype(np.float16)

        def in_less(part: torch.Tensor) -> torch.Tensor:
            with torch.autocast(self.device.type, getattr(torch, self.precision)):
                return in_float32(part)

        vectors = self._batches.run(batch, in_less)
        lost = ~np.isfinite(vectors).all(axis=1)
        if lost.any():  # values beyond what the precision holds, in this picture or text
            vectors[lost] = self._batches.run(batch[torch.from_numpy(lost)], in_float32)
            with self._counting:
                self._recomputed += int(lost.sum())
        return vectors.astype(np.float16)

    def _nothing(self) -> np.ndarray:
        return np.zeros((0, self.space.dimension), dtype=np.float16)


def find_device(device: str | None) -> torch.device:
    """Choose where to run: the device that is named, else a GPU where one is found, else the CPU.

    Raises
    ------
    BadInput
        When the named device is not there.
    """
    import torch

    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError) as error:
        raise BadInput(f"device {device!r} cannot be used here ({last_line(error)}): pass --device cpu") from error
    return found
