"""An open_clip model that turns pictures and captions into unit vectors, and the space it makes them in.

Evaluation and inference mode, the model's own preprocessing. Not here: which samples are encoded (`job.py`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
import tomllib
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tailwag.errors import BadInput, NotFound

from .space import Space

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

# Keys of open_clip's configuration that say how weights are fetched, not what the model computes.
_FETCHING_KEYS = ("timm_model_pretrained", "hf_model_pretrained")
# Where tokenizers differ: capitals, accents, scripts, digits, punctuation, entities, spaces, more words than fit.
_PROBES = ("", "a photo of a Red Panda", "Crème brûlée &amp; 7½ “eggs”!", "小熊猫  in\tsnow", "F-16A/B " * 80)


class Encoder:
    """A loaded model. Make one with `Encoder.load` or `Encoder.for_space`.

    Attributes
    ----------
    space
        The embedding space of everything it encodes.
    device
        Where it runs.
    """

    def __init__(self, model: Any, preprocess: Any, tokenizer: Any, space: Space, device: torch.device) -> None:
        self._model = model
        self._preprocess = preprocess
        self._tokenizer = tokenizer
        self.space = space
        self.device = device
        self._one_batch = threading.Lock()

    @classmethod
    def load(cls, model: str, pretrained: str | None = None, device: str | None = None) -> Encoder:
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

        Raises
        ------
        NotFound
            For a model, tag or folder that does not exist.
        BadInput
            For a model without weights, or a device that is not there.
        """
        from .open_clip_loading import import_open_clip

        target = find_device(device)
        name = _resolve_shipped(model)
        if ":" not in name:
            name = name.replace("/", "-")  # ViT-B/32, as the papers write it
        open_clip = import_open_clip()
        _check_model(open_clip, model, name, pretrained)
        try:
            with warnings.catch_warnings(), _quiet_loading():
                warnings.simplefilter("error", UserWarning)  # a QuickGELU mismatch makes other vectors: never silently
                warnings.filterwarnings("ignore", message="(?!QuickGELU)")
                network = open_clip.create_model(
                    name, pretrained=pretrained, precision="fp32", device="cpu", require_pretrained=True
                )
                tokenizer = open_clip.get_tokenizer(name)
        except UserWarning as warning:
            raise BadInput(
                f"model {model!r} with {pretrained!r}: {warning} Pass the -quickgelu variant of the model"
            ) from None
        except Exception as error:  # open_clip, timm, safetensors and the hub client each raise their own
            raise NotFound(
                f"model {_title(model, pretrained)} cannot be loaded ({_last_line(error)}): check the name, and "
                "that its weights are on this machine or can be fetched"
            ) from error
        network.eval()
        preprocessing = open_clip.get_model_preprocess_cfg(network)
        preprocess = open_clip.transform.image_transform_v2(
            open_clip.transform.PreprocessCfg(**preprocessing), is_train=False
        )
        space = Space(
            model=model,
            pretrained=pretrained or "",
            architecture=_architecture(open_clip, name, network),
            weights=_weights_digest(network),
            preprocessing=json.dumps(preprocessing, sort_keys=True),
            tokenizer=_describe_tokenizer(tokenizer),
            dimension=_dimension(network, tokenizer),
        )
        return cls(network.to(target), preprocess, tokenizer, space, target)

    @classmethod
    def for_space(
        cls, space: Space, model: str | None = None, pretrained: str | None = None, device: str | None = None
    ) -> Encoder:
        """Load the model that a space names, and make sure that it still makes that space.

        Parameters
        ----------
        space
            The space of the corpus that is asked.
        model, pretrained
            Another name under which the same model is found; None for the space's own.
        device
            As for `load`.

        Raises
        ------
        SpaceMismatch
            When the loaded model makes another space.
        """
        if model is None:
            model, pretrained = space.model, pretrained or space.pretrained or None
        try:
            encoder = cls.load(model, pretrained, device)
        except NotFound as error:
            if space.model.startswith("local-dir:") and model == space.model:
                raise NotFound(f"{error}; if its folder has moved, pass --model local-dir:FOLDER") from error
            raise
        space.require_same(
            encoder.space,
            here="the corpus holds",
            there="the query would use",
            remedy=f"pass {space.options}",
        )
        return encoder

    def preprocess(self, image: Image) -> torch.Tensor:
        """Resize, crop and normalise one picture as the model wants it: (3, height, width) float32."""
        return self._preprocess(image)

    def encode_pixels(self, pixels: torch.Tensor) -> np.ndarray:
        """Encode preprocessed pictures.

        Parameters
        ----------
        pixels
            (n, 3, height, width) float32.

        Returns
        -------
        numpy.ndarray
            (n, dimension) float16, unit length; rows that came out not finite stay so, for the caller to refuse.
        """
        import torch

        # On a CPU each thread computes on its own; on a GPU one batch at a time is what the memory was planned for.
        with nullcontext() if self.device.type == "cpu" else self._one_batch, torch.inference_mode():
            return _unit(self._model.encode_image(pixels.to(self.device, non_blocking=True)))

    def encode_images(self, images: Sequence[Image], batch_size: int = 64) -> np.ndarray:
        """Encode pictures: (n, dimension) float16, unit length."""
        import torch

        batches = [
            self.encode_pixels(torch.stack([self._preprocess(image) for image in images[start : start + batch_size]]))
            for start in range(0, len(images), batch_size)
        ]
        return np.concatenate(batches) if batches else self._nothing()

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> np.ndarray:
        """Encode texts: (n, dimension) float16, unit length. A text longer than the model's context is cut by it."""
        import torch

        batches = []
        with torch.inference_mode():
            for start in range(0, len(texts), batch_size):
                tokens = self._tokenizer(list(texts[start : start + batch_size])).to(self.device)
                batches.append(_unit(self._model.encode_text(tokens)))
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
        import torch

        height, width = _size(json.loads(self.space.preprocessing)["size"])
        pixels = torch.rand(batch_size, 3, height, width)
        with self.shared_by_threads(), ThreadPoolExecutor(workers) as pool:
            list(pool.map(self.encode_pixels, [pixels] * workers))
            start = time.perf_counter()
            list(pool.map(self.encode_pixels, [pixels] * 2 * workers))
            return 2 * workers * batch_size / (time.perf_counter() - start)

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
        raise BadInput(f"device {device!r} cannot be used here ({_last_line(error)}): pass --device cpu") from error
    return found


def _unit(features: torch.Tensor) -> np.ndarray:
    features = features.float()
    return (features / features.norm(dim=-1, keepdim=True)).cpu().numpy().astype(np.float16)


def _resolve_shipped(model: str) -> str:
    if not model.startswith("tailwag:"):
        return model
    shipped = tomllib.loads(resources.files("tailwag.configs").joinpath("models.toml").read_text("utf-8"))
    if model not in shipped:
        raise NotFound(f"no model {model!r} ships with tailwag; it has {', '.join(shipped)}")
    return f"local-dir:{resources.files(shipped[model]['package']) / shipped[model]['folder']}"


def _check_model(open_clip: Any, model: str, name: str, pretrained: str | None) -> None:
    """Refuse, before anything is fetched, what open_clip would refuse in a page of text or take silently."""
    from difflib import get_close_matches

    if name.startswith("local-dir:"):
        folder = Path(name.removeprefix("local-dir:"))
        if not (folder / "open_clip_config.json").is_file():
            raise NotFound(f"model {model!r}: there is no open_clip_config.json in {folder}")
        return
    if name.startswith("hf-hub:"):
        return
    known = open_clip.list_models()
    if name not in known:
        near = get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "see open_clip.list_models()"
        raise NotFound(f"open_clip knows no model {model!r}: {hint}")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained is None:
        raise BadInput(f"model {model!r} without weights would be random: pass --pretrained, one of {', '.join(tags)}")
    if pretrained not in tags and not Path(pretrained).is_file():
        raise NotFound(f"model {model!r} has no weights {pretrained!r}: pass --pretrained, one of {', '.join(tags)}")


def _architecture(open_clip: Any, name: str, network: Any) -> str:
    if name.startswith("local-dir:"):
        path = Path(name.removeprefix("local-dir:")) / "open_clip_config.json"
        config = json.loads(path.read_text("utf-8"))["model_cfg"]
    else:
        config = open_clip.get_model_config(name)
    config["quick_gelu"] = any(type(module).__name__ == "QuickGELU" for module in network.modules())
    return hashlib.sha256(json.dumps(_without_defaults(config), sort_keys=True).encode()).hexdigest()


def _without_defaults(config: Any) -> Any:
    """Drop what is unset, so that a configuration that spells out a default equals one that does not."""
    if isinstance(config, dict):
        kept = {key: _without_defaults(value) for key, value in config.items() if key not in _FETCHING_KEYS}
        return {key: value for key, value in kept.items() if value is not None and value is not False}
    return config


def _weights_digest(network: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().contiguous().numpy())
    return digest.hexdigest()


def _describe_tokenizer(tokenizer: Any) -> str:
    inner = getattr(tokenizer, "tokenizer", None)
    size = getattr(tokenizer, "vocab_size", None) or getattr(inner, "vocab_size", 0)
    # What a tokenizer makes of some texts tells it better than its name, which may be a folder of this machine.
    made = hashlib.sha256(str(tokenizer(list(_PROBES)).tolist()).encode()).hexdigest()[:16]
    return f"{type(tokenizer).__name__}, {size} words, {tokenizer.context_length} tokens, probe {made}"


def _dimension(network: Any, tokenizer: Any) -> int:
    import torch

    with torch.inference_mode():
        return int(network.encode_text(tokenizer(["a"])).shape[-1])


def _size(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _title(model: str, pretrained: str | None) -> str:
    return f"{model!r} with {pretrained!r}" if pretrained else f"{model!r}"


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[-1] if lines else type(error).__name__)[:200]


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Keep open_clip and the hub client from logging, retry by retry, what becomes one error of ours."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
