"""Writes a Wan2.1-T2V-1.3B pipeline folder of true size with random weights, to measure time and memory.

    python Benchmarks/make_wan_t2v_1_3b.py --out DIR [--tokenizer FOLDER] [--small-denoiser]

Transformer 1.42 B parameters and autoencoder 127 M in float32 (as published), UMT5-XXL encoder 5.68 B in bf16 shards:
about 17.5 GB in all; the tokenizer is a small one of the tests. Seen with Python 3.11, torch 2.15.0, diffusers 0.42.1,
transformers 5.23.0.
"""

import argparse
import os

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

from random_pipeline import write_index, write_model, write_text_encoder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--tokenizer", default=os.path.join(here, "../Tests/PipelineTests/Fixtures/toy-wan/tokenizer"))
    parser.add_argument("--small-denoiser", action="store_true", help="one layer each of transformer and text encoder, narrow, "
                        "so that decoding is what a run's peak memory shows")
    parser.add_argument("--transformer-only", action="store_true", help="one narrow layer of text encoder and a narrow "
                        "autoencoder, so that the transformer is what a run takes time for")
    parser.add_argument("--layers", type=int, default=30, help="of the transformer")
    args = parser.parse_args()
    small, only = args.small_denoiser, args.transformer_only

    with torch.device("meta"):
        transformer = WanTransformer3DModel(
            patch_size=(1, 2, 2), num_attention_heads=1 if small else 12, attention_head_dim=128, in_channels=16, out_channels=16,
            text_dim=64 if small else 4096, freq_dim=256, ffn_dim=128 if small else 8960, num_layers=1 if small else args.layers, cross_attn_norm=True,
            qk_norm="rms_norm_across_heads", eps=1e-6, rope_max_seq_len=1024)
        # Its defaults are those of Wan 2.1.
        vae = AutoencoderKLWan(base_dim=8) if only else AutoencoderKLWan()
        text = UMT5EncoderModel(UMT5Config(
            vocab_size=256384, d_model=64 if small else 4096, d_kv=64, d_ff=128 if small or only else 10240,
            num_layers=1 if small or only else 24, num_heads=1 if small or only else 64, dropout_rate=0.0,
            feed_forward_proj="gated-gelu", tie_word_embeddings=False, is_encoder_decoder=False, use_cache=False))

    write_model(os.path.join(args.out, "transformer"), transformer)
    write_model(os.path.join(args.out, "vae"), vae)
    write_text_encoder(os.path.join(args.out, "text_encoder"), text, "umt5")
    write_index(args.out, "WanPipeline", {
        "_class_name": "UniPCMultistepScheduler", "beta_end": 0.02, "beta_schedule": "linear", "beta_start": 0.0001,
        "flow_shift": 3.0, "num_train_timesteps": 1000, "prediction_type": "flow_prediction", "solver_order": 2,
        "solver_type": "bh2", "timestep_spacing": "linspace", "use_flow_sigmas": True,
    }, {
        "text_encoder": ["transformers", "UMT5EncoderModel"], "tokenizer": ["transformers", "T5TokenizerFast"],
        "transformer": ["diffusers", "WanTransformer3DModel"], "vae": ["diffusers", "AutoencoderKLWan"],
    }, args.tokenizer)


if __name__ == "__main__":
    main()
