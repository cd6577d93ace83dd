"""Runs a text-to-image pipeline folder with diffusers, one component in memory at a time, and prints seconds by phase.

    python Benchmarks/run_diffusers.py --pipeline DIR --size 512x512 --steps 2 --dtype bfloat16 --threads 2

Load, encode, free; load, denoise, free; load, decode: the leanest order diffusers allows, so that peaks compare.
"""

import argparse
import gc
import json
import resource
import time

import torch
from diffusers import AutoencoderKL, PixArtSigmaPipeline, PixArtTransformer2DModel
from transformers import T5EncoderModel


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", required=True)
    parser.add_argument("--size", default="512x512")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"))
    parser.add_argument("--prompt", default="a large red sphere on a grey floor")
    parser.add_argument("--max-sequence-length", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    dtype, seconds, start = getattr(torch, args.dtype), {}, time.time()
    width, height = (int(side) for side in args.size.split("x"))

    def lap(name):
        nonlocal start
        seconds[name], start = round(time.time() - start, 2), time.time()

    with torch.no_grad():
        text = T5EncoderModel.from_pretrained(args.pipeline, subfolder="text_encoder", dtype=dtype)
        pipe = PixArtSigmaPipeline.from_pretrained(args.pipeline, text_encoder=text, transformer=None, vae=None)
        lap("load text_encoder")
        embeds = pipe.encode_prompt(args.prompt, clean_caption=False, max_sequence_length=args.max_sequence_length)
        lap("text")
        del text, pipe
        gc.collect()
        transformer = PixArtTransformer2DModel.from_pretrained(args.pipeline, subfolder="transformer", torch_dtype=dtype)
        pipe = PixArtSigmaPipeline.from_pretrained(
            args.pipeline, text_encoder=None, tokenizer=None, transformer=transformer, vae=None)
        pipe.vae_scale_factor = 8
        lap("load transformer")
        latents = pipe(
            prompt=None, negative_prompt=None, prompt_embeds=embeds[0], prompt_attention_mask=embeds[1], negative_prompt_embeds=embeds[2],
            negative_prompt_attention_mask=embeds[3], width=width, height=height, num_inference_steps=args.steps,
            use_resolution_binning=False, output_type="latent", generator=torch.Generator("cpu").manual_seed(0)).images
        lap("denoise")
        del transformer, pipe
        gc.collect()
        vae = AutoencoderKL.from_pretrained(args.pipeline, subfolder="vae", torch_dtype=dtype)
        lap("load vae")
        picture = vae.decode(latents / vae.config.scaling_factor).sample
        lap("decode")
    if args.output:
        from diffusers.image_processor import VaeImageProcessor
        VaeImageProcessor().postprocess(picture.float())[0].save(args.output)
    print(json.dumps({"seconds": seconds, "total": round(sum(seconds.values()), 2), "finite": bool(picture.isfinite().all()),
                      "peak_rss_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)}))


if __name__ == "__main__":
    main()
