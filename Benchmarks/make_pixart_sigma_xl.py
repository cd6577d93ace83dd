"""Writes a PixArt-Sigma-XL pipeline folder of true size with random weights, to measure time and memory.

    python Benchmarks/make_pixart_sigma_xl.py --out DIR [--tokenizer FOLDER] [--sample-size 64]

Transformer 610 M parameters and autoencoder 84 M in float32 (as published), T5-XXL encoder 4.76 B in bf16 shards: about
12.3 GB in all. Shapes come from diffusers' and transformers' own classes on the meta device; values are one block of
normal numbers (standard deviation 0.02; norms 1, biases 0) repeated, which is enough for time and memory and stays
finite. Nothing is held in memory but one block. Seen with Python 3.11, torch 2.15.0, diffusers 0.42.1, transformers 5.23.0.
"""

import argparse
import json
import os
import shutil
import struct

import numpy
import torch
from diffusers import AutoencoderKL, PixArtTransformer2DModel
from transformers import T5Config, T5EncoderModel

BLOCK = 1 << 24


def random_block(bf16):
    values = numpy.random.default_rng(0).standard_normal(BLOCK + 4096, dtype=numpy.float32) * 0.02
    return (values.view(numpy.uint32) >> 16).astype(numpy.uint16) if bf16 else values


def write(path, tensors, bf16, block):
    """Streams one safetensors file. `tensors` is a list of (name, shape)."""
    size, header, offset = (2 if bf16 else 4), {}, 0
    for name, shape in tensors:
        count = int(numpy.prod(shape))
        header[name] = {"dtype": "BF16" if bf16 else "F32", "shape": list(shape), "data_offsets": [offset, offset + count * size]}
        offset += count * size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for index, (name, shape) in enumerate(tensors):
            count = int(numpy.prod(shape))
            if len(shape) == 1:
                one = 1.0 if name.endswith("weight") else 0.0
                values = numpy.full(count, one, numpy.float32)
                file.write(((values.view(numpy.uint32) >> 16).astype(numpy.uint16) if bf16 else values).tobytes())
                continue
            shift = (index * 37) % 4096
            while count:
                part = min(count, BLOCK)
                file.write(block[shift:shift + part].tobytes())
                count -= part


def shapes(model):
    """Names and shapes of a state dict, tied copies left out."""
    seen, result = set(), []
    for name, parameter in model.named_parameters(remove_duplicate=True):
        if id(parameter) not in seen:
            seen.add(id(parameter))
            result.append((name, tuple(parameter.shape)))
    return result


def write_json(path, value):
    with open(path, "w") as file:
        file.write(json.dumps(value, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--tokenizer", default=os.path.join(here, "../pipelines/tabletop-image/tokenizer"))
    parser.add_argument("--sample-size", type=int, default=64, help="64 is the 512-pixel model, 128 the 1024-pixel one")
    args = parser.parse_args()
    for folder in ("transformer", "vae", "text_encoder", "scheduler"):
        os.makedirs(os.path.join(args.out, folder), exist_ok=True)
    shutil.copytree(args.tokenizer, os.path.join(args.out, "tokenizer"), dirs_exist_ok=True)

    with torch.device("meta"):
        transformer = PixArtTransformer2DModel(
            sample_size=args.sample_size, caption_channels=4096, use_additional_conditions=False)
        vae = AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
            block_out_channels=[128, 256, 512, 512], layers_per_block=2, sample_size=1024, scaling_factor=0.13025)
        config = T5Config(
            vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64, dropout_rate=0.0,
            feed_forward_proj="gated-gelu", tie_word_embeddings=False, is_encoder_decoder=False, use_cache=False)
        text = T5EncoderModel(config)

    block = random_block(bf16=False)
    for folder, model in (("transformer", transformer), ("vae", vae)):
        write(os.path.join(args.out, folder, "diffusion_pytorch_model.safetensors"), shapes(model), False, block)
        write_json(os.path.join(args.out, folder, "config.json"),
                   {"_class_name": type(model).__name__, **{k: v for k, v in model.config.items() if not k.startswith("_")}})
    block, shards, current, size = random_block(bf16=True), [], [], 0
    for name, shape in shapes(text):
        count = 2 * int(numpy.prod(shape))
        if current and size + count > 2 << 30:
            shards.append(current)
            current, size = [], 0
        current.append((name, shape))
        size += count
    shards.append(current)
    weight_map = {}
    for index, tensors in enumerate(shards):
        file = f"model-{index + 1:05}-of-{len(shards):05}.safetensors"
        write(os.path.join(args.out, "text_encoder", file), tensors, True, block)
        weight_map.update({name: file for name, _ in tensors})
    write_json(os.path.join(args.out, "text_encoder", "model.safetensors.index.json"),
               {"metadata": {"total_size": sum(2 * int(numpy.prod(s)) for t in shards for _, s in t)}, "weight_map": weight_map})
    write_json(os.path.join(args.out, "text_encoder", "config.json"),
               {"architectures": ["T5EncoderModel"], **config.to_diff_dict(), "model_type": "t5", "dtype": "bfloat16"})
    write_json(os.path.join(args.out, "scheduler", "scheduler_config.json"), {
        "_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver++", "beta_end": 0.02,
        "beta_schedule": "linear", "beta_start": 0.0001, "num_train_timesteps": 1000, "prediction_type": "epsilon",
        "solver_order": 2, "solver_type": "midpoint", "thresholding": False})
    write_json(os.path.join(args.out, "model_index.json"), {
        "_class_name": "PixArtSigmaPipeline", "_diffusers_version": "0.42.1",
        "scheduler": ["diffusers", "DPMSolverMultistepScheduler"], "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5Tokenizer"], "transformer": ["diffusers", "PixArtTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"]})
    total = sum(os.path.getsize(os.path.join(f, n)) for f, _, names in os.walk(args.out) for n in names)
    print(f"{total / 1e9:.2f} GB in {args.out}")


if __name__ == "__main__":
    main()
