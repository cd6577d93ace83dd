"""Writes a PixArt-Sigma-XL folder of true size with random weights, for measuring speed and memory.

    python Benchmarks/make_pixart_sigma_xl.py --out FOLDER [--tokenizer FOLDER] [--size 1024]
        [--transformer-dtype bfloat16] [--vae-dtype float32]

(seen with Python 3.11, numpy 2.4.6, torch 2.15.0, diffusers 0.42.1, transformers 5.23.0). About 11 GB, two or three
minutes: the T5-v1.1-XXL encoder in bfloat16, the 28-layer transformer and the SDXL autoencoder in the types asked for.

Shards of at most 2 GB are streamed tensor by tensor, so little memory is needed. The numbers are N(0, 0.02) (text
embeddings N(0, 1), norms 1, biases 0) cut from one block of 2^24 that is drawn once and entered at a random point for
each tensor: the values repeat, which no dense kernel notices, but a compressing one would. The images mean nothing.
Names and shapes come from the real classes, built on torch's "meta" device. T5's projections are scaled down with
their width and its `q` further, as its own initialisation does, for a deep random encoder to stay finite.

`--tokenizer` is copied as it is; without it the one of Tests/PipelineTests/Fixtures/toy-pixart-sigma is.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, PixArtTransformer2DModel
from transformers import T5Config, T5EncoderModel

ROOT = Path(__file__).resolve().parents[1]
SHARD = 2_000_000_000
NAMES = {torch.float32: "F32", torch.bfloat16: "BF16"}

T5_XXL = dict(
    vocab_size=32128, d_model=4096, d_ff=10240, d_kv=64, num_heads=64, num_layers=24, feed_forward_proj="gated-gelu",
    relative_attention_num_buckets=32, relative_attention_max_distance=128, dropout_rate=0.1, layer_norm_epsilon=1e-6,
    is_encoder_decoder=False, use_cache=False, tie_word_embeddings=False, pad_token_id=0, eos_token_id=1)
TRANSFORMER = dict(
    num_attention_heads=16, attention_head_dim=72, in_channels=4, out_channels=8, num_layers=28, dropout=0.0,
    cross_attention_dim=1152, attention_bias=True, patch_size=2, activation_fn="gelu-approximate",
    num_embeds_ada_norm=1000, norm_type="ada_norm_single", norm_elementwise_affine=False, norm_eps=1e-6,
    caption_channels=4096, use_additional_conditions=False)
SDXL_VAE = dict(
    block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=4, norm_num_groups=32,
    sample_size=1024, scaling_factor=0.13025, force_upcast=True)
SCHEDULER = """{
  "_class_name": "DPMSolverMultistepScheduler",
  "_diffusers_version": "0.22.0.dev0",
  "algorithm_type": "dpmsolver++",
  "beta_end": 0.02,
  "beta_schedule": "linear",
  "beta_start": 0.0001,
  "dynamic_thresholding_ratio": 0.995,
  "euler_at_final": false,
  "lambda_min_clipped": -Infinity,
  "lower_order_final": true,
  "num_train_timesteps": 1000,
  "prediction_type": "epsilon",
  "sample_max_value": 1.0,
  "solver_order": 2,
  "solver_type": "midpoint",
  "steps_offset": 0,
  "thresholding": false,
  "timestep_spacing": "linspace",
  "trained_betas": null,
  "use_karras_sigmas": false,
  "use_lu_lambdas": false,
  "variance_type": null
}
"""


class Numbers:
    """Normal numbers without end: one block of 2^24, entered at a random point for each tensor."""

    def __init__(self, seed=0):
        self.random = np.random.default_rng(seed)
        self.block = torch.from_numpy(self.random.standard_normal(1 << 24, dtype=np.float32))

    def pieces(self, count, mean, std, dtype):
        if std == 0:
            block = torch.full((min(count, self.block.numel()),), mean, dtype=dtype)
        else:
            block = (self.block * std + mean).to(dtype)
        start = int(self.random.integers(len(block)))
        while count:
            piece = block[start : start + count]
            yield memoryview(piece.view(torch.uint8).numpy())
            count, start = count - len(piece), 0


def spread(name, shape):
    """Mean and standard deviation of a tensor."""
    if name == "shared.weight" or "relative_attention_bias" in name:
        return 0.0, 1.0
    if "scale_shift_table" in name:
        return 0.0, 0.02
    if len(shape) == 1:
        return (0.0 if name.endswith("bias") else 1.0), 0.0
    if ".SelfAttention." in name or ".DenseReluDense." in name:
        return 0.0, shape[1] ** -0.5 * (0.125 if name.endswith(".q.weight") else 1)
    if len(shape) == 4:
        return 0.0, float(np.prod(shape[1:])) ** -0.5
    return 0.0, 0.02


def write(folder, stem, shapes, dtype, numbers):
    """Streams the tensors into as few shards of at most `SHARD` bytes as in order they fit."""
    folder.mkdir(parents=True, exist_ok=True)
    size = torch.empty(0, dtype=dtype).element_size()
    shards, room = [[]], SHARD
    for name, shape in shapes.items():
        length = int(np.prod(shape)) * size
        if length > room and shards[-1]:
            shards.append([])
            room = SHARD
        shards[-1].append((name, shape, length))
        room -= length
    weight_map = {}
    for n, shard in enumerate(shards):
        file = f"{stem}.safetensors" if len(shards) == 1 else f"{stem}-{n + 1:05}-of-{len(shards):05}.safetensors"
        header, offset = {"__metadata__": {"format": "pt"}}, 0
        for name, shape, length in shard:
            header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [offset, offset + length]}
            weight_map[name] = file
            offset += length
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(folder / file, "wb") as f:
            f.write(len(text).to_bytes(8, "little") + text)
            for name, shape, _ in shard:
                f.writelines(numbers.pieces(int(np.prod(shape)), *spread(name, shape), dtype))
        print(f"{folder.name}/{file}: {offset} bytes", flush=True)
    if len(shards) > 1:
        total = sum(length for shard in shards for _, _, length in shard)
        (folder / f"{stem}.safetensors.index.json").write_text(
            json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2) + "\n")


def shapes_of(model):
    return {k: tuple(v.shape) for k, v in model.state_dict().items() if k != "encoder.embed_tokens.weight"}


def dump(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(text, indent=2, sort_keys=True) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path,
                        default=ROOT / "Tests/PipelineTests/Fixtures/toy-pixart-sigma/tokenizer")
    parser.add_argument("--size", type=int, choices=[256, 512, 1024, 2048], default=1024)
    parser.add_argument("--transformer-dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--vae-dtype", choices=["float32", "bfloat16"], default="float32")
    arguments = parser.parse_args()
    out = arguments.out
    if out.exists() and any(out.iterdir()):
        sys.exit(f"{out} is not empty")
    sample_size, scale = arguments.size // 8, {256: 0.5, 512: 1, 1024: 2, 2048: 4}[arguments.size]
    config, numbers = T5Config(**T5_XXL), Numbers()
    with torch.device("meta"):
        encoder, vae = T5EncoderModel(config), AutoencoderKL(**SDXL_VAE)
        model = PixArtTransformer2DModel(**TRANSFORMER, sample_size=sample_size, interpolation_scale=scale)
    transformer_dtype, vae_dtype = getattr(torch, arguments.transformer_dtype), getattr(torch, arguments.vae_dtype)

    dump(out / "model_index.json", {
        "_class_name": "PixArtSigmaPipeline", "_diffusers_version": "0.28.0.dev0",
        "scheduler": ["diffusers", "DPMSolverMultistepScheduler"], "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5Tokenizer"], "transformer": ["diffusers", "PixArtTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"]})
    extra = {"architectures": ["T5EncoderModel"], "dtype": "bfloat16"}
    dump(out / "text_encoder/config.json", config.to_dict() | extra)
    for part, module in (("transformer", model), ("vae", vae)):
        dump(out / part / "config.json", {
            "_class_name": type(module).__name__, "_diffusers_version": "0.28.0.dev0",
            **{k: v for k, v in module.config.items() if not k.startswith("_")}})
    (out / "scheduler").mkdir()
    (out / "scheduler" / "scheduler_config.json").write_text(SCHEDULER)
    shutil.copytree(arguments.tokenizer, out / "tokenizer", copy_function=shutil.copyfile)

    write(out / "vae", "diffusion_pytorch_model", shapes_of(vae), vae_dtype, numbers)
    write(out / "transformer", "diffusion_pytorch_model", shapes_of(model), transformer_dtype, numbers)
    write(out / "text_encoder", "model", shapes_of(encoder), torch.bfloat16, numbers)


if __name__ == "__main__":
    main()
