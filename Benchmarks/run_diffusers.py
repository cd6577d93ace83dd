"""Runs a PixArt pipeline folder with diffusers and says where the time and the memory go.

    python Benchmarks/run_diffusers.py FOLDER [--size 1024x1024] [--steps 20] [--dtype bfloat16] [--threads N] [--plain]

(seen with Python 3.11, torch 2.15.0, diffusers 0.42.1, transformers 5.23.0). One JSON object on standard output:
seconds of each phase and the peak of the resident set (pages of mapped weight files count as well).

Parts are loaded, used and freed one after another (text encoder, transformer, autoencoder), the order this package
uses; `--plain` loads everything with one `from_pretrained`, as a diffusers program would. `load_<part>` is seconds
to load a part (`load` with --plain; mapped weights are only read when first used, so much of a cold load is paid in
the phase after it), `text` both prompts' encoding, `step` the list of seconds per denoising step
(with guidance a step is a batch of two), `step_median` their median without the first, `decode` the autoencoder.
Run it at least five times, or look at `step_median` alone: single figures wander with the machine.
"""

import argparse
import gc
import json
import platform
import resource
import statistics
import sys
import time
import warnings
from pathlib import Path

import diffusers
import torch
import transformers

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def peak_bytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Clock:
    def __init__(self):
        self.seconds, self.peaks, self.last = {}, {}, time.perf_counter()

    def mark(self, phase=None):
        now = time.perf_counter()
        if phase:
            self.seconds[phase], self.peaks[phase] = round(now - self.last, 4), peak_bytes()
        self.last = time.perf_counter()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prompt", default="a large red sphere on a grey floor")
    parser.add_argument("--negative-prompt", default="")
    parser.add_argument("--size", default=None, help="WIDTHxHEIGHT; the folder's own size if absent")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=4.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-sequence-length", type=int, default=300)
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of the transformer")
    parser.add_argument("--text-dtype", choices=DTYPES, default=None, help="of the text encoder; as --dtype if absent")
    parser.add_argument("--vae-dtype", choices=DTYPES, default="float32")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--plain", action="store_true", help="one from_pretrained for all parts")
    parser.add_argument("--tiling", action="store_true", help="tile the autoencoder")
    parser.add_argument("--image", type=Path, default=None, help="save the image here")
    return parser.parse_args()


def main():
    a = arguments()
    warnings.filterwarnings("ignore")
    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_grad_enabled(False)
    if a.threads:
        torch.set_num_threads(a.threads)
    name = json.loads((a.folder / "model_index.json").read_text())["_class_name"]
    if name not in ("PixArtSigmaPipeline", "PixArtAlphaPipeline"):
        sys.exit(f"{name}: only PixArt pipelines are measured")
    kind, base = getattr(diffusers, name), a.folder
    dtype, text_dtype, vae_dtype = DTYPES[a.dtype], DTYPES[a.text_dtype or a.dtype], DTYPES[a.vae_dtype]
    vae_config = json.loads((base / "vae" / "config.json").read_text())
    factor = 2 ** (len(vae_config.get("block_out_channels", [0])) - 1)
    side = json.loads((base / "transformer" / "config.json").read_text())["sample_size"] * factor
    width, height = (int(n) for n in a.size.split("x")) if a.size else (side, side)

    clock = Clock()
    if a.plain:
        pipe = kind.from_pretrained(base, dtype={"text_encoder": text_dtype, "vae": vae_dtype, "default": dtype})
        clock.mark("load")
        words = pipe
    else:
        words = kind.from_pretrained(base, transformer=None, vae=None, dtype=text_dtype)
        clock.mark("load_text")
    embeds, mask, negative, negative_mask = words.encode_prompt(
        a.prompt, do_classifier_free_guidance=a.guidance > 1, negative_prompt=a.negative_prompt, clean_caption=False,
        max_sequence_length=a.max_sequence_length)
    clock.mark("text")
    if not a.plain:
        del words
        gc.collect()
        clock.mark()
        pipe = kind.from_pretrained(base, text_encoder=None, tokenizer=None, vae=None, dtype=dtype)
        pipe.vae_scale_factor = factor
        clock.mark("load_transformer")

    marks = []

    def begin(*_):  # returns nothing, or torch would take it for the transformer's input
        if not marks:
            marks.append(time.perf_counter())

    first = pipe.transformer.register_forward_pre_hook(begin)
    pipe.set_progress_bar_config(disable=True)
    latents = pipe(
        prompt=None, negative_prompt=None, prompt_embeds=embeds.to(dtype), prompt_attention_mask=mask,
        negative_prompt_embeds=None if negative is None else negative.to(dtype),
        negative_prompt_attention_mask=negative_mask, num_inference_steps=a.steps, guidance_scale=a.guidance,
        height=height, width=width, use_resolution_binning=False, clean_caption=False, output_type="latent",
        generator=torch.Generator("cpu").manual_seed(a.seed),
        callback=lambda *_: marks.append(time.perf_counter()), callback_steps=1).images
    clock.mark("denoise")
    first.remove()
    if a.plain:
        vae = pipe.vae
    else:
        del pipe
        gc.collect()
        clock.mark()
        vae = diffusers.AutoencoderKL.from_pretrained(base / "vae", dtype=vae_dtype)
        clock.mark("load_vae")
    if a.tiling:
        vae.enable_tiling()
    image = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor).sample.float()
    clock.mark("decode")
    if a.image:
        from PIL import Image

        pixels = ((image[0] / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(a.image)

    steps = [round(b - c, 4) for b, c in zip(marks[1:], marks)]
    print(json.dumps({
        "pipeline": a.folder.name, "size": f"{width}x{height}", "steps": a.steps, "guidance": a.guidance,
        "dtype": a.dtype, "text_dtype": a.text_dtype or a.dtype, "vae_dtype": a.vae_dtype,
        "order": "plain" if a.plain else "load, use, free", "threads": torch.get_num_threads(),
        "machine": platform.machine(), "torch": torch.__version__, "diffusers": diffusers.__version__,
        "seconds": clock.seconds | {"step": steps, "step_median": round(statistics.median(steps[1:] or steps), 4)},
        "peak_bytes": peak_bytes(), "peak_bytes_after": clock.peaks,
        "latents_std": round(latents.float().std().item(), 4), "finite": bool(torch.isfinite(image).all()),
    }, indent=2))


if __name__ == "__main__":
    main()
