"""What SmoothQuant's equalisation (Xiao et al. 2022, arXiv:2211.10438) would bring to 8-bit linear layers of a pipeline.

    python Benchmarks/equalisation.py pipelines/tabletop-image pipelines/tabletop-video

Every linear layer's inputs are seen during a few steps of a few prompts, in float32 by diffusers. Its output is then
computed as `--dtype int8` does, a scale for each token and one for each output, and again with input channel j divided by
s_j = max|x_j|^a / max|w_j|^(1 - a) and its weights multiplied by it. Printed: relative L2 errors, by kind of layer.
"""

import argparse
import collections
import re

import diffusers
import torch

PROMPTS = ["a large blue cube", "a small red sphere on a grey floor", "a yellow cone beside a green cylinder"]


def quantised(x):
    """Rows as 8-bit integers times a scale each."""
    scale = x.abs().amax(-1, keepdim=True).clamp_min(1e-30) / 127
    return (x / scale).round() * scale


def error(x, weight, scale):
    exact = x.double() @ weight.double().T
    found = (quantised(x / scale) @ quantised(weight * scale).T).double()
    return ((found - exact).norm() / exact.norm()).item()


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rows", type=int, default=64, help="rows of a call that are kept")
    args = parser.parse_args()
    for folder in args.folders:
        pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32)
        pipeline.set_progress_bar_config(disable=True)
        seen = collections.defaultdict(list)
        layers = {name: module for name, module in pipeline.transformer.named_modules()
                  if isinstance(module, torch.nn.Linear) and "blocks." in name}

        def hook(name):
            def keep(module, inputs):
                x = inputs[0].reshape(-1, inputs[0].shape[-1])
                seen[name].append(x[torch.linspace(0, len(x) - 1, min(args.rows, len(x))).long()].clone())
            return keep

        for name, module in layers.items():
            module.register_forward_pre_hook(hook(name))
        for index, prompt in enumerate(PROMPTS):
            # The size of the tabletop pipelines.
            more = ({"use_resolution_binning": False} if "PixArt" in type(pipeline).__name__
                    else {"height": 64, "width": 64, "num_frames": 17})
            pipeline(prompt, num_inference_steps=args.steps, guidance_scale=3, output_type="latent",
                     generator=torch.Generator().manual_seed(index), **more)
        errors = collections.defaultdict(lambda: collections.defaultdict(list))
        for name, module in layers.items():
            x, weight = torch.cat(seen[name]), module.weight
            kind = re.sub(r"^.*blocks\.\d+\.", "", name)
            # Scales come from one half of what was seen, errors from the other.
            most, large = x[::2].abs().amax(0).clamp_min(1e-5), weight.abs().amax(0).clamp_min(1e-5)
            for a in (None, 0.25, 0.5, 0.75):
                scale = torch.ones_like(most) if a is None else most ** a / large ** (1 - a)
                errors[kind][a].append(error(x[1::2], weight, scale))
            errors[kind]["outliers"].append((most.max() / most.median()).item())
        print(f"\n{folder}\n| layer | largest channel over median | as it is | a = .25 | .5 | .75 |\n|---|--:|--:|--:|--:|--:|")
        for kind, found in errors.items():
            mean = {key: sum(values) / len(values) for key, values in found.items()}
            print(f"| {kind} | {mean['outliers']:.1f} | " + " | ".join(f"{mean[a]:.2e}" for a in (None, 0.25, 0.5, 0.75)) + " |")


if __name__ == "__main__":
    main()
