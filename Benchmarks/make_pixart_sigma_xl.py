"""Writes a PixArt-Sigma-XL pipeline folder of true size with random weights, to measure time and memory.

    python Benchmarks/make_pixart_sigma_xl.py --out DIR [--tokenizer FOLDER] [--sample-size 64]

With --only the parts that are not named are small: what one part takes is then measured without the rest.
Transformer 610 M parameters and autoencoder 84 M in float32 (as published), T5-XXL encoder 4.76 B in bf16 shards: about
12.3 GB in all. Seen with Python 3.11, torch 2.15.0, diffusers 0.42.1, transformers 5.23.0.
"""

import argparse
import os

import torch
from diffusers import AutoencoderKL, PixArtTransformer2DModel
from transformers import T5Config, T5EncoderModel

from random_pipeline import write_index, write_model, write_text_encoder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--tokenizer", default=os.path.join(here, "../pipelines/tabletop-image/tokenizer"))
    parser.add_argument("--sample-size", type=int, default=64, help="64 is the 512-pixel model, 128 the 1024-pixel one")
    parser.add_argument("--only", choices=["transformer", "vae", "text_encoder"])
    args = parser.parse_args()
    small = {part: args.only not in (None, part) for part in ("transformer", "vae", "text_encoder")}

    with torch.device("meta"):
        transformer = PixArtTransformer2DModel(
            sample_size=args.sample_size, caption_channels=4096, use_additional_conditions=False,
            num_layers=1 if small["transformer"] else 28)
        vae = AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
            block_out_channels=[32] * 4 if small["vae"] else [128, 256, 512, 512],
            layers_per_block=1 if small["vae"] else 2, sample_size=1024, scaling_factor=0.13025)
        short = small["text_encoder"]
        text = T5EncoderModel(T5Config(
            vocab_size=32128, d_model=4096, d_kv=64, d_ff=128 if short else 10240, num_layers=1 if short else 24,
            num_heads=1 if short else 64, dropout_rate=0.0,
            feed_forward_proj="gated-gelu", tie_word_embeddings=False, is_encoder_decoder=False, use_cache=False))

    write_model(os.path.join(args.out, "transformer"), transformer)
    write_model(os.path.join(args.out, "vae"), vae)
    write_text_encoder(os.path.join(args.out, "text_encoder"), text, "t5")
    write_index(args.out, "PixArtSigmaPipeline", {
        "_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver++", "beta_end": 0.02,
        "beta_schedule": "linear", "beta_start": 0.0001, "num_train_timesteps": 1000, "prediction_type": "epsilon",
        "solver_order": 2, "solver_type": "midpoint", "thresholding": False,
    }, {
        "text_encoder": ["transformers", "T5EncoderModel"], "tokenizer": ["transformers", "T5Tokenizer"],
        "transformer": ["diffusers", "PixArtTransformer2DModel"], "vae": ["diffusers", "AutoencoderKL"],
    }, args.tokenizer)


if __name__ == "__main__":
    main()
