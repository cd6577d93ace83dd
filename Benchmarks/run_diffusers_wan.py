"""Runs a Wan text-to-video folder with diffusers, one component in memory at a time, and prints seconds by phase.

    python Benchmarks/run_diffusers_wan.py --pipeline DIR --size 416x240 --num-frames 17 --steps 1 --dtype bfloat16

Load, encode, free; load, denoise, free; load, decode: the leanest order diffusers allows, so that peaks compare. The
autoencoder runs in `--vae-dtype`, float32 as upstream's examples do unless told otherwise.
"""

import argparse
import gc
import json
import resource
import time

import torch
from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel
from transformers import UMT5EncoderModel


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", required=True)
    parser.add_argument("--size", default="416x240")
    parser.add_argument("--num-frames", type=int, default=17)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--vae-dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--prompt", default="a large red sphere on a grey floor")
    parser.add_argument("--max-sequence-length", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dtype, vae_dtype, seconds, peaks, start = getattr(torch, args.dtype), getattr(torch, args.vae_dtype), {}, {}, time.time()
    width, height = (int(side) for side in args.size.split("x"))

    def lap(name):
        nonlocal start
        seconds[name], start = round(time.time() - start, 2), time.time()
        peaks[name] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)

    with torch.no_grad():
        text = UMT5EncoderModel.from_pretrained(args.pipeline, subfolder="text_encoder", dtype=dtype)
        pipe = WanPipeline.from_pretrained(args.pipeline, text_encoder=text, transformer=None, vae=None)
        lap("load text_encoder")
        embeds = pipe.encode_prompt(args.prompt, max_sequence_length=args.max_sequence_length)
        lap("text")
        del text, pipe
        gc.collect()
        transformer = WanTransformer3DModel.from_pretrained(args.pipeline, subfolder="transformer", torch_dtype=dtype)
        pipe = WanPipeline.from_pretrained(
            args.pipeline, text_encoder=None, tokenizer=None, transformer=transformer, vae=None)
        lap("load transformer")
        latents = pipe(
            prompt_embeds=embeds[0], negative_prompt_embeds=embeds[1], width=width, height=height,
            num_frames=args.num_frames, num_inference_steps=args.steps, output_type="latent",
            generator=torch.Generator("cpu").manual_seed(0)).frames
        lap("denoise")
        del transformer, pipe
        gc.collect()
        vae = AutoencoderKLWan.from_pretrained(args.pipeline, subfolder="vae", torch_dtype=vae_dtype)
        lap("load vae")
        mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1)
        deviation = torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1)
        clip = vae.decode((latents.float() * deviation + mean).to(vae_dtype)).sample
        lap("decode")
    print(json.dumps({"seconds": seconds, "total": round(sum(seconds.values()), 2), "finite": bool(clip.isfinite().all()),
                      "peak_rss_gib_so_far": peaks}))


if __name__ == "__main__":
    main()
