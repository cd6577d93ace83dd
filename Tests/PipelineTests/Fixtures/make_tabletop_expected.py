"""What diffusers draws with the trained pipeline `tabletop-image`, in float32 and in bfloat16.

    python Tests/PipelineTests/Fixtures/make_tabletop_expected.py [--pipeline pipelines/tabletop-image]
    python Tests/PipelineTests/Fixtures/make_tabletop_expected.py --dtype bfloat16 [--pipeline ...]

run from the repository root (seen with Python 3.11, torch 2.15.0, diffusers 0.42.1, transformers 5.23.0); the second
reads what the first wrote. Prompt i is drawn with seed i: 20 steps, guidance 3, 64 tokens, 128 x 128.

`expected/tabletop.safetensors`: `input.noise` and `output.latents` [3, 4, 32, 32] float32, `output.image`
[3, 128, 128, 3] uint8; metadata `prompts`, `call`, `versions`, `command`.
`expected/tabletop_bfloat16.safetensors`: `output.latents`, `output.image` of the same noise with the text encoder and
the transformer in bfloat16 and the autoencoder in float32; metadata `psnr` (each image against float32, in dB, peak
255) and `psnr_all` (the autoencoder in bfloat16 as well).
"""

import argparse
import json
import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
import golden  # noqa: E402

from diffusers import PixArtSigmaPipeline  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

torch.set_num_threads(1)
torch.set_grad_enabled(False)

PROMPTS = ["a large red sphere on a grey floor", "a small blue cube to the left of a yellow cone",
           "a green cylinder on a teal floor with a dark background"]
CALL = {"num_inference_steps": 20, "guidance_scale": 3.0, "negative_prompt": "", "max_sequence_length": 64,
        "clean_caption": False, "use_resolution_binning": False, "height": 128, "width": 128}


def draw(pipe, noise):
    """Latents and images, one prompt at a time, so that the noise is that of a lone call."""
    latents, images = [], []
    for prompt, start in zip(PROMPTS, noise):
        final = pipe(prompt, **CALL, latents=start[None].to(pipe.transformer.dtype), output_type="latent").images
        raw = pipe.vae.decode(final.to(pipe.vae.dtype) / pipe.vae.config.scaling_factor).sample
        pixels = pipe.image_processor.postprocess(raw, output_type="np")
        latents.append(final.float())
        images.append((torch.from_numpy(pixels) * 255).round().to(torch.uint8))
    return torch.cat(latents), torch.cat(images)


def psnr(a, b):
    errors = (a.double() - b.double()).square().flatten(1).mean(1)
    return [round(10 * torch.log10(255**2 / e.clamp_min(1e-12)).item(), 2) for e in errors]


def save(name, tensors, command, **metadata):
    path = HERE / "expected" / f"{name}.safetensors"
    golden.write(path, tensors, {"prompts": json.dumps(PROMPTS), "call": json.dumps(CALL, sort_keys=True),
                                 "seeds": json.dumps([0, 1, 2]), "versions": golden.versions(), "command": command,
                                 **metadata})
    golden.check(path, tensors)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", type=Path, default=HERE.parents[2] / "pipelines" / "tabletop-image")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    arguments = parser.parse_args()
    command = "python Tests/PipelineTests/Fixtures/make_tabletop_expected.py"
    pipe = PixArtSigmaPipeline.from_pretrained(arguments.pipeline, dtype=getattr(torch, arguments.dtype))
    pipe.set_progress_bar_config(disable=True)
    if arguments.dtype == "float32":
        generators = [torch.Generator("cpu").manual_seed(s) for s in range(3)]
        noise = torch.cat([torch.randn(1, 4, 32, 32, generator=g) for g in generators])
        latents, images = draw(pipe, noise)
        alone = pipe(PROMPTS[2], **CALL, generator=torch.Generator("cpu").manual_seed(2), output_type="latent").images
        assert torch.equal(alone, latents[2:]), "the noise is not what the pipeline draws"
        save("tabletop", {"input.noise": noise, "output.latents": latents, "output.image": images}, command)
    else:
        exact = load_file(HERE / "expected" / "tabletop.safetensors")
        _, all_images = draw(pipe, exact["input.noise"])
        pipe.vae.to(torch.float32)  # its weights are float32 in the folder: read them again, unrounded
        pipe.vae.load_state_dict(load_file(arguments.pipeline / "vae" / "diffusion_pytorch_model.safetensors"))
        latents, images = draw(pipe, exact["input.noise"])
        figures = psnr(images, exact["output.image"]), psnr(all_images, exact["output.image"])
        print("PSNR against float32 in dB: autoencoder in float32", figures[0], "all in bfloat16", figures[1])
        save("tabletop_bfloat16", {"output.latents": latents, "output.image": images}, command + " --dtype bfloat16",
             psnr=json.dumps(figures[0]), psnr_all=json.dumps(figures[1]))
