"""Finding and loading an open_clip model by name, and the space that it makes vectors in.

Not here: running it (`encoder.py`), its text half (`text_tower.py`).
"""

from __future__ import annotations

import hashlib
import json
import logging
import tomllib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from tailwag.errors import BadInput, NotFound

from .preprocessing import Preprocessing
from .space import Space

# Keys of open_clip's configuration that say how weights are fetched, not what the model computes.
_FETCHING_KEYS = ("timm_model_pretrained", "hf_model_pretrained")
# Where tokenizers differ: capitals, accents, scripts, digits, punctuation, entities, spaces, more words than fit.
PROBE_TEXTS = ("", "a photo of a Red Panda", "Crème brûlée &amp; 7½ “eggs”!", "小熊猫  in\tsnow", "F-16A/B " * 80)


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode, on the CPU in float32, with everything that belongs to it.

    Attributes
    ----------
    network
        open_clip's model.
    transform
        open_clip's own preprocessing: a picture to (3, height, width) float32.
    preprocessing
        The same in two halves, equal to the bit.
    tokenizer
        open_clip's.
    space
        The space of its vectors.
    """

    network: Any
    transform: Any
    preprocessing: Preprocessing
    tokenizer: Any
    space: Space


def load_model(model: str, pretrained: str | None = None) -> LoadedModel:
    """Load a model with its weights; `Encoder.load` says what the names may be and what is raised."""
    from .open_clip_loading import import_open_clip

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
            f"model {_title(model, pretrained)} cannot be loaded ({last_line(error)}): check the name, and "
            "that its weights are on this machine or can be fetched"
        ) from error
    network.eval()
    values = open_clip.get_model_preprocess_cfg(network)
    transform = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(**values), is_train=False)
    recorded = json.dumps(values, sort_keys=True)
    preprocessing = Preprocessing.from_json(recorded)
    preprocessing.require_parity(transform, f"open_clip_torch {metadata.version('open_clip_torch')}")
    space = Space(
        model=model,
        pretrained=pretrained or "",
        architecture=_architecture(open_clip, name, network),
        weights=_weights_digest(network),
        preprocessing=recorded,
        tokenizer=_describe_tokenizer(tokenizer),
        dimension=_dimension(network, tokenizer),
    )
    return LoadedModel(network, transform, preprocessing, tokenizer, space)


def check_name(model: str, pretrained: str | None = None) -> int | None:
    """Check that a model of that name could be loaded, without its weights.

    Parameters
    ----------
    model, pretrained
        As for `load_model`.

    Returns
    -------
    int or None
        The dimension of its vectors; None where only the weights' own place says it (``hf-hub:``).

    Raises
    ------
    NotFound
        For a model, tag or folder that does not exist.
    BadInput
        For a model without weights, and for one whose activation does not fit them.
    """
    from .open_clip_loading import import_open_clip

    name = _resolve_shipped(model)
    if ":" not in name:
        name = name.replace("/", "-")
    open_clip = import_open_clip()
    _check_model(open_clip, model, name, pretrained)
    if name.startswith("local-dir:"):
        path = Path(name.removeprefix("local-dir:")) / "open_clip_config.json"
        return int(json.loads(path.read_text("utf-8"))["model_cfg"]["embed_dim"])
    if ":" in name:
        return None
    config, tag = open_clip.get_model_config(name), open_clip.get_pretrained_cfg(name, pretrained)
    if tag and tag.get("quick_gelu", False) and not config.get("quick_gelu", False):
        raise BadInput(f"weights {pretrained!r} belong to {name}-quickgelu: pass --model {name}-quickgelu")
    return int(config["embed_dim"])


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
    made = hashlib.sha256(str(tokenizer(list(PROBE_TEXTS)).tolist()).encode()).hexdigest()[:16]
    return f"{type(tokenizer).__name__}, {size} words, {tokenizer.context_length} tokens, probe {made}"


def _dimension(network: Any, tokenizer: Any) -> int:
    import torch

    with torch.inference_mode():
        return int(network.encode_text(tokenizer(["a"])).shape[-1])


def _title(model: str, pretrained: str | None) -> str:
    return f"{model!r} with {pretrained!r}" if pretrained else f"{model!r}"


def last_line(error: BaseException) -> str:
    """Give the last line of an error's text, which in a traceback of others is the one that says what happened."""
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
