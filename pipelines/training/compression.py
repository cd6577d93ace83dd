"""Key/value token compression for PixArt transformers, as PixArt-Sigma has it (arXiv:2403.04692, section 2.3).

In some layers, each ratio x ratio area of keys, and of values, becomes one: a depthwise convolution, then a layer
norm, with the same weights for both. diffusers has no such layer; the layout is the one the README of this
repository describes: `kv_compress_config` in the transformer's configuration, and the weights `sr` and `norm`
beside the projections of `attn1`.
"""

import json
import os

import torch
from safetensors.torch import load_file
from torch import nn


class CompressedAttention:
    """Self-attention over a square grid of tokens whose keys and values `sr` and `norm` shorten."""

    def __call__(self, attention, hidden_states, encoder_hidden_states=None, attention_mask=None, **_):
        assert encoder_hidden_states is None and attention_mask is None, "self-attention of all tokens only"
        q = attention.to_q(hidden_states)
        k, v = (self.shorten(attention, project(hidden_states)) for project in (attention.to_k, attention.to_v))
        q, k, v = (x.unflatten(2, (attention.heads, -1)).transpose(1, 2) for x in (q, k, v.to(q.dtype)))
        weights = (q @ k.to(q.dtype).transpose(-1, -2)).float().mul(q.shape[-1] ** -0.5).softmax(-1)
        mixed = (weights.to(v.dtype) @ v).transpose(1, 2).flatten(2)
        return attention.to_out[1](attention.to_out[0](mixed))

    @staticmethod
    def shorten(attention, x):
        side = round(x.shape[1] ** 0.5)
        grid = x.transpose(1, 2).unflatten(2, (side, side))
        return attention.norm(attention.sr(grid).flatten(2).transpose(1, 2))


def compress(transformer, ratio, layers):
    """Adds compressors that start as means, and says so in the configuration."""
    for layer in layers:
        attention = transformer.transformer_blocks[layer].attn1
        width = attention.to_k.out_features
        attention.sr = nn.Conv2d(width, width, ratio, ratio, groups=width)
        attention.norm = nn.LayerNorm(width, eps=1e-5)
        nn.init.constant_(attention.sr.weight, 1 / ratio**2)
        nn.init.zeros_(attention.sr.bias)
        attention.to(attention.to_k.weight)
        attention.set_processor(CompressedAttention())
    transformer.register_to_config(kv_compress_config={
        "sampling": "conv", "scale_factor": ratio, "kv_compress_layer": list(layers)})


def load_into(transformer, folder):
    """Gives a transformer that diffusers loaded from `folder` the compressors that diffusers left out, if any."""
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file).get("kv_compress_config")
    if not config:
        return
    compress(transformer, config["scale_factor"], config["kv_compress_layer"])
    weights = load_file(os.path.join(folder, "diffusion_pytorch_model.safetensors"))
    ours = {name: weight for name, weight in weights.items() if ".attn1.sr." in name or ".attn1.norm." in name}
    missing = transformer.load_state_dict(ours, strict=False).missing_keys
    assert not any(".sr." in name or ".attn1.norm." in name for name in missing), f"{folder}: compressors lack weights"


def parse(text):
    """(ratio, layers) of "2:4-7"."""
    ratio, layers = text.split(":")
    first, last = map(int, layers.split("-"))
    return int(ratio), list(range(first, last + 1))
