"""Golden fixture of key/value compression: a toy PixArt whose self-attention shortens keys and values in some layers.

    python Tests/DiffusionModelsTests/Fixtures/make_compression_fixtures.py

run from the repository root, in the environment of `make_fixtures.py`. diffusers has no such layer: here its
self-attention is computed anew from the definition (PixArt-Sigma, arXiv:2403.04692, section 2.3), and checked to be
diffusers' own where nothing is shortened.

`pixart_compressed.safetensors` holds `weights.*`; of these the convolution and norm of layer 1 lie under the original
repository's name `attn`, those of layer 3 under `attn1`. The inputs of a grid are `input.<grid>.*`, the outputs
`output.<grid>.<case>.sample`; metadata `cases` gives each case's choice as `--kv-compression` spells it, `null` being
the checkpoint's own. Grids are in tokens, height first.
"""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
import golden  # noqa: E402

from diffusers import PixArtTransformer2DModel  # noqa: E402

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
torch.set_grad_enabled(False)

COMMAND = "python Tests/DiffusionModelsTests/Fixtures/make_compression_fixtures.py"
LAYERS, HEADS, HEAD_SIZE, TRAINED = 4, 2, 12, {1: "attn", 3: "attn1"}
SIZE = HEADS * HEAD_SIZE

# Name: mode, ratio, layers, spelling.
CASES = {
    "none": (None, 1, [], "none"),
    "conv": ("conv", 2, [1, 3], None),
    "conv-3": ("conv", 2, [3], "conv:layers=3"),
    "average": ("average", 2, [2, 3], "average"),
    "average-wide": ("average", 3, [1, 2, 3], "average:ratio=3,layers=1-3"),
    "uniform": ("uniform", 2, [2, 3], "uniform:layers=2-3"),
    "uniform-wide": ("uniform", 4, [0], "uniform:ratio=4,layers=0"),
    "nearest": ("nearest", 2, [0, 1, 2, 3], "nearest:layers=0-3"),
    "nearest-wide": ("nearest", 3, [2], "nearest:ratio=3,layers=2"),
}
GRIDS = {"8x12": (8, 12), "7x9": (7, 9)}


def compressed(x, grid, mode, ratio, conv, norm):
    """Tokens [B, N, C] of a grid, shortened."""
    image = x.unflatten(1, grid).permute(0, 3, 1, 2)
    if mode == "conv":
        return norm(conv(image).flatten(2).transpose(1, 2))
    if mode == "average":
        areas = [[image[:, :, y:y + ratio, x:x + ratio].mean((2, 3)) for x in range(0, grid[1], ratio)]
                 for y in range(0, grid[0], ratio)]
        return torch.stack([area for row in areas for area in row], 1)
    if mode == "uniform":
        short = image[:, :, ::ratio, ::ratio]
    else:
        short = F.interpolate(image, scale_factor=1 / ratio, mode="nearest")
    return short.flatten(2).transpose(1, 2)


class Attention:
    """Self-attention in place of diffusers', keys and values shortened before the heads are split."""

    def __init__(self, layer, conv, norm):
        self.layer, self.conv, self.norm, self.case, self.grid = layer, conv, norm, CASES["none"], None

    def __call__(self, attn, x, **_):
        mode, ratio, layers, _ = self.case
        q, k, v = attn.to_q(x), attn.to_k(x), attn.to_v(x)
        if self.layer in layers:
            k, v = (compressed(t, self.grid, mode, ratio, self.conv, self.norm) for t in (k, v))
        q, k, v = (t.unflatten(2, (HEADS, HEAD_SIZE)).transpose(1, 2) for t in (q, k, v))
        scores = (q @ k.transpose(2, 3)) / HEAD_SIZE ** 0.5
        return attn.to_out[0]((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def main():
    model = golden.enliven(PixArtTransformer2DModel(
        num_attention_heads=HEADS, attention_head_dim=HEAD_SIZE, in_channels=4, out_channels=8, num_layers=LAYERS,
        cross_attention_dim=SIZE, caption_channels=20, sample_size=16, patch_size=2, interpolation_scale=2,
        norm_num_groups=32, use_additional_conditions=False), 50)
    tensors, patches = golden.weights(model), []
    for layer, block in enumerate(model.transformer_blocks):
        modules = golden.enliven(torch.nn.ModuleDict({
            "sr": torch.nn.Conv2d(SIZE, SIZE, 2, stride=2, groups=SIZE), "norm": torch.nn.LayerNorm(SIZE)}), 60 + layer)
        patches.append(Attention(layer, modules["sr"], modules["norm"]))
        if layer in TRAINED:
            tensors |= {f"weights.transformer_blocks.{layer}.{TRAINED[layer]}.{k}": v
                        for k, v in modules.state_dict().items()}
    for n, (name, grid) in enumerate(GRIDS.items()):
        inputs = dict(latents=normal(500 + n, 1, 4, 2 * grid[0], 2 * grid[1]), text=normal(510 + n, 1, 7, 20))
        tensors |= {f"input.{name}.{k}": v for k, v in inputs.items()}

        def run():
            return model(inputs["latents"], encoder_hidden_states=inputs["text"], timestep=torch.tensor([437]),
                         added_cond_kwargs=None, return_dict=False)[0]

        plain = run()
        own = [block.attn1.processor for block in model.transformer_blocks]
        for block, patch in zip(model.transformer_blocks, patches):
            block.attn1.processor, patch.grid = patch, grid
        for case in CASES:
            for patch in patches:
                patch.case = CASES[case]
            tensors[f"output.{name}.{case}.sample"] = sample = run()
            change = ((sample - plain).norm() / plain.norm()).item()
            print(f"  {name} {case}: {change:.3g} from dense")
            if (change > 1e-5) if case == "none" else (change < 0.02):
                raise SystemExit("this case proves nothing")
        for block, processor in zip(model.transformer_blocks, own):
            block.attn1.processor = processor
    config = {k: v for k, v in model.config.items() if not k.startswith("_")} | {
        "_class_name": type(model).__name__,
        "kv_compress_config": {"sampling": "conv", "scale_factor": 2, "kv_compress_layer": sorted(TRAINED)}}
    path = HERE / "pixart_compressed.safetensors"
    golden.write(path, tensors, {
        "config": json.dumps(config, sort_keys=True), "versions": golden.versions(), "command": COMMAND,
        "cases": json.dumps({name: case[3] for name, case in CASES.items()}, sort_keys=True)})
    golden.check(path, tensors)


if __name__ == "__main__":
    main()
