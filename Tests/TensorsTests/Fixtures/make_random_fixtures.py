"""Writes random.json: noise of PyTorch's CPU generator as bit patterns, and a Philox reference.

    python make_random_fixtures.py

Made with torch 2.15.0 and numpy (Python 3) on x86-64 with AVX-512, where torch.randn runs its AVX2 code. Values are
the bits of Float32 as unsigned integers; calls of more than 100 values are stored as the CRC-32 of their little-endian
bytes and their first and last four values.

The Philox part is not made by torch (it takes a CUDA card) but by a plain numpy copy of the documented layout, in
double precision from the uniforms on: a reference to 2e-6, not to the bit.
"""

import json
import math
import pathlib
import zlib

import numpy as np
import torch

SEEDS = [0, 1, 42, 123456789, 2**31, 2**32 - 1, 2**32, 2**32 + 42, 2**53, 2**63, 2**64 - 1]
SHAPES = [[1], [2], [5], [15], [16], [17], [31], [32], [33], [100], [1000], [1, 4, 64, 64]]
# Small calls keep a value back for the next small call, whatever comes between.
MIXED = [[3], [20], [1], [16], [4], [0], [7], [33], [2], [15], [1, 4, 16, 16], [1], [1], [640], [5]]


def bits(values):
    return np.ascontiguousarray(values, dtype="<f4").view("<u4").reshape(-1)


def record(shape, values):
    patterns = bits(values)
    entry = {"shape": shape}
    if patterns.size <= 100:
        entry["bits"] = patterns.tolist()
    else:
        entry["crc32"] = zlib.crc32(patterns.tobytes())
        entry["first"] = patterns[:4].tolist()
        entry["last"] = patterns[-4:].tolist()
    return entry


def draw(generator, shapes):
    return [record(shape, torch.randn(shape, generator=generator).numpy()) for shape in shapes]


def generator(seed):
    return torch.Generator("cpu").manual_seed(seed)


def philox(seed, offset, count):
    """Philox4x32-10 and Box-Muller for elements 0 ..< count of call `offset`."""
    index = np.arange(count, dtype=np.uint64)
    mask = np.uint64(0xFFFFFFFF)
    counter = [np.full(count, offset & 0xFFFFFFFF, np.uint64), np.full(count, offset >> 32, np.uint64),
               index & mask, index >> np.uint64(32)]
    key = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a = counter[0] * np.uint64(0xD2511F53)
        b = counter[2] * np.uint64(0xCD9E8D57)
        counter = [(b >> np.uint64(32)) ^ counter[1] ^ np.uint64(key[0]), b & mask,
                   (a >> np.uint64(32)) ^ counter[3] ^ np.uint64(key[1]), a & mask]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    u = (counter[0].astype(np.float64) + 0.5) * 2.0**-32
    v = (counter[1].astype(np.float64) + 0.5) * 2.0**-32 * 2 * math.pi
    return (np.sqrt(-2 * np.log(u)) * np.sin(v)).astype(np.float32)


def main():
    single = [{"seed": seed, "calls": draw(generator(seed), [shape])} for seed in SEEDS for shape in SHAPES]
    mixed = [{"seed": seed, "calls": draw(generator(seed), MIXED)} for seed in SEEDS]
    signed = [{"seed": seed, "calls": draw(generator(seed), [[5], [32]])} for seed in (-1, -2, -(2**31), -(2**62))]
    large = [{"seed": 7, "calls": draw(generator(7), [[1000003]])}]
    blocks = [{"seed": seed, "offset": offset, "bits": bits(philox(seed, offset, 40)).tolist()}
              for seed in (0, 42, 2**64 - 1) for offset in (0, 1, 2)]
    out = {"torch": torch.__version__, "single": single + large, "mixed": mixed, "signed": signed, "philox": blocks}
    path = pathlib.Path(__file__).parent / "random.json"
    path.write_text(json.dumps(out, separators=(",", ":")).replace('{"seed"', '\n{"seed"') + "\n")


if __name__ == "__main__":
    main()
