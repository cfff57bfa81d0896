"""Leaving padding away changes no vector, and a text that was cut is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailwag.embed.encoder import Encoder
from tailwag.embed.models import PROBE_TEXTS, load_model
from tailwag.embed.text_tower import TextTower

from ..conftest import make_tiny_model

CONTEXT = 16  # of the tiny model, with a token for the begin and one for the end


@pytest.fixture(scope="module")
def model(tiny_model):
    return load_model(tiny_model)


@pytest.fixture(scope="module")
def tower(model):
    return TextTower(model.network, model.tokenizer, PROBE_TEXTS)


def whole(model, texts):
    import torch

    with torch.inference_mode():
        return model.network.encode_text(model.tokenizer(texts), normalize=True).numpy()


def trimmed(tower, texts):
    import torch

    tokens = tower.tokenize(texts)
    with torch.inference_mode():
        return torch.nn.functional.normalize(tower.encode(tokens.ids, int(tokens.lengths.max())), dim=-1).numpy()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=80), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_vectors_are_the_models_own(model, tower, texts):
    assert tower.trims
    assert np.abs(trimmed(tower, texts) - whole(model, texts)).max() < 2e-6


@given(st.lists(st.sampled_from(["dog", "!", "a", "&amp;", "7½"]), max_size=30))
@settings(max_examples=100, deadline=None)
def test_tokens_and_cuts_are_the_tokenizers(model, tower, words):
    text = " ".join(words)
    tokens = tower.tokenize([text])
    assert (tokens.ids == model.tokenizer([text])).all()
    assert bool(tokens.cut[0]) == (len(model.tokenizer.encode(text)) + 2 > CONTEXT)


def test_a_text_that_fills_the_context_is_not_cut(tower):
    tokens = tower.tokenize([" ".join(["dog"] * 14), " ".join(["dog"] * 15), ""])
    assert tokens.cut.tolist() == [False, True, False]
    assert tokens.lengths.tolist() == [16, 16, 2]


def test_a_model_that_sees_the_padding_keeps_it(tmp_path):
    """Without a causal mask every token's vector depends on all of them."""
    folder = make_tiny_model(tmp_path / "open")
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["no_causal_mask"] = True
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    model = load_model(f"local-dir:{folder}")
    tower = TextTower(model.network, model.tokenizer, PROBE_TEXTS)
    assert not tower.trims
    assert np.array_equal(trimmed(tower, ["a dog"]), whole(model, ["a dog"]))
    assert tower.tokenize(["a dog"]).lengths.tolist() == [CONTEXT]


def test_a_model_whose_vectors_change_without_padding_keeps_it(model):
    """Planted: a mask that lets every token see the last place, so that only trying can tell."""
    import torch

    mask = model.network.attn_mask.clone()
    mask[:, -1] = 0.0
    network = load_model(model.space.model).network
    network.attn_mask = mask
    with torch.inference_mode():
        assert not TextTower(network, model.tokenizer, PROBE_TEXTS).trims


def test_tokenizers_that_do_not_tell_cuts_count_full_texts(model):
    """Planted: a tokenizer that ends every text in the last place, so that no place beyond the context stays empty."""

    class EndsLast:
        context_length = CONTEXT

        def __call__(self, texts, context_length=None):
            tokens = model.tokenizer(texts, context_length=(context_length or CONTEXT) - 1)
            import torch

            return torch.nn.functional.pad(tokens, (0, 1), value=49407)

    tower = TextTower(model.network, EndsLast(), PROBE_TEXTS)
    assert tower.tokenize(["dog", " ".join(["dog"] * 20)]).cut.tolist() == [False, True]


@pytest.mark.photos
def test_real_captions_on_a_trained_model(data):
    encoder = Encoder.load(f"local-dir:{data / 'models' / 'mini'}", device="cpu")
    model = load_model(encoder.space.model)
    captions = Path(data / "data" / "photos" / "pascal-sentences" / "classes.txt").read_text().split() * 2
    captions += ["a photo of two dogs that lie on a red sofa near a window " * 4, ""]
    found = encoder.encode_texts(captions, batch_size=7).astype(np.float32)
    assert (found * whole(model, captions)).sum(axis=1).min() >= 0.9999
