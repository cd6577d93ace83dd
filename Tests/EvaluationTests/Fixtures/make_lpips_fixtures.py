"""Writes lpips.json: what the lpips package says of made-up pictures, with made-up weights.

    python make_lpips_fixtures.py

Made with lpips 0.1.4, torchvision 0.29.2 and torch 2.15.0 (Python 3.11, x86-64). The weights are those of
LPIPSTests.swift, a hash of their index, spread so that signals neither fade nor grow from layer to layer; their names and
shapes come from `Tools/make_lpips_weights.py`, which is thereby checked as well.
"""

import json
import math
import pathlib
import sys
import warnings

import lpips
import numpy as np
import torch

sys.dont_write_bytecode = True
warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "Tools"))
from images import mix, pair  # noqa: E402
from make_lpips_weights import tensors  # noqa: E402

CASES = {"alex": [(64, 48), (31, 31), (75, 67)], "vgg": [(48, 32), (16, 19)]}


def even(count, seed):
    """Numbers evenly in -1...1, of 24 bits: exact in Float32."""
    words = mix(np.arange(count, dtype=np.uint64) + np.uint64(seed * 40_503_001))
    return torch.from_numpy(((words >> np.uint64(8)).astype(np.float64) / 2**23 - 1).astype(np.float32))


def fill(model):
    """Sets all weights; returns name and shape of each, by name, in the order of their seeds."""
    shapes = {}
    state = model.state_dict()
    for seed, (name, value) in enumerate(sorted(tensors(model).items())):
        shapes[name] = list(value.shape)
        numbers = even(value.numel(), seed)
        if name.startswith("lins."):
            numbers = numbers.abs()
        elif name.endswith("weight"):
            numbers = numbers * np.float32(math.sqrt(6 / value[0].numel()))
        else:
            numbers = numbers * np.float32(0.125)
        for other in state:
            parts = other.split(".")
            index = f"{parts[0]}.{parts[1]}"
            if (parts[0] == "net" and name == f"features.{parts[2]}.{parts[3]}") or (
                    name.startswith("lins.") and (index == name[:6] or parts[0] == "lin" + name[5])):
                state[other].copy_(numbers.reshape(state[other].shape))
    model.load_state_dict(state)
    return shapes


def main():
    out = {}
    for network, sizes in CASES.items():
        model = lpips.LPIPS(net=network, pretrained=False, pnet_rand=True, verbose=False).eval()
        shapes, cases = fill(model), []
        for number, (width, height) in enumerate(sizes):
            for change in ("noise", "shift", "dim", "invert"):
                frame, reference = pair(change, width, height, number + 1)
                planes = [torch.from_numpy(p.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
                          for p in (frame, reference)]
                with torch.no_grad():
                    value = model(*planes).item()
                assert 1e-3 < value < 10, (network, change, value)
                cases.append({"change": change, "width": width, "height": height, "seed": number + 1, "value": value})
        out[network] = {"shapes": shapes, "cases": cases}
    (HERE / "lpips.json").write_text(json.dumps(out).replace('{"change"', '\n{"change"') + "\n")


if __name__ == "__main__":
    main()
