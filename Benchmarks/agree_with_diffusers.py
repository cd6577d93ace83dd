"""Runs a trained pipeline with Tessera and with diffusers in float32, same prompts and seeds, and prints the PSNR.

    python Benchmarks/agree_with_diffusers.py --pipeline pipelines/tabletop-image --size 256x256 --prompts FILE --count 8

Wan folders are run as clips, frame by frame. Needs torch, diffusers, numpy and pillow; builds nothing: run `make build`
first.
"""

import argparse
import json
import os
import subprocess
import tempfile

import numpy
import torch
from diffusers import DiffusionPipeline
from PIL import Image

os.environ["TESSERA_CACHE"] = "off"  # embeddings are part of what must agree
BIN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), ".build/release")


def tessera(args, prompt, seed, folder):
    """Frames [f, h, w, 3] of one picture or clip."""
    is_video = args.frames > 1
    output = os.path.join(folder, "f-%04d.png" if is_video else "picture.png")
    command = [os.path.join(BIN, "generate-video" if is_video else "generate-image"), "-m", args.pipeline, "-p", prompt,
               "--seed", str(seed), "--steps", str(args.steps), "--size", args.size, "--dtype", "float32",
               "--guidance-scale", str(args.guidance), "-t", "2", "--quiet", "-o", output]
    command += ["--num-frames", str(args.frames)] if is_video else ["--resolution-binning", "off"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    names = sorted(name for name in os.listdir(folder) if name.endswith(".png"))
    return numpy.stack([numpy.asarray(Image.open(os.path.join(folder, name)).convert("RGB")) for name in names])


def diffusers(args, pipeline, prompt, seed):
    width, height = map(int, args.size.split("x"))
    own = {"num_frames": args.frames} if args.frames > 1 else {
        "use_resolution_binning": False, "clean_caption": False}
    if args.max_sequence_length:
        own["max_sequence_length"] = args.max_sequence_length
    made = pipeline(prompt, width=width, height=height, num_inference_steps=args.steps, guidance_scale=args.guidance,
                    generator=torch.Generator().manual_seed(seed), output_type="np", **own)
    frames = made.frames[0] if args.frames > 1 else made.images
    return numpy.round(frames * 255).astype(numpy.uint8)


def psnr(a, b):
    error = numpy.square(a.astype(float) - b).mean()
    return float("inf") if error == 0 else 10 * numpy.log10(255**2 / error)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", required=True)
    parser.add_argument("--prompts", required=True, help="file, a prompt a line")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--size", default="256x256")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--frames", type=int, default=1)
    parser.add_argument("--max-sequence-length", type=int)
    args = parser.parse_args()
    torch.set_num_threads(2)
    pipeline = DiffusionPipeline.from_pretrained(args.pipeline, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    with open(args.prompts) as file:
        prompts = file.read().splitlines()[:args.count]
    figures = []
    for seed, prompt in enumerate(prompts):
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = tessera(args, prompt, seed, folder), diffusers(args, pipeline, prompt, seed)
        assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
        figures.append([psnr(a, b) for a, b in zip(ours, theirs)])
        print(f"{min(figures[-1]):6.2f} dB  largest difference {abs(ours.astype(int) - theirs).max():3d}  {prompt}", flush=True)
    print(json.dumps({"prompts": len(prompts), "worst": min(map(min, figures)),
                      "median": float(numpy.median([value for row in figures for value in row]))}))


if __name__ == "__main__":
    main()
