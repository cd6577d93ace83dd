"""Writes resize.json: diffusers' resize_and_crop_tensor on made-up planes.

    python make_resize_fixtures.py

Made with torch 2.15.0 and diffusers 0.42.1 (Python 3.11, x86-64 with AVX-512). Input value i of a case is
((i * 2654435761 mod 2^32) / 2^31) - 1 in Float32, so that only results are stored: all of them for small cases, every
997th for large ones.
"""

import json
import pathlib

import numpy as np
import torch
from diffusers.image_processor import PixArtImageProcessor

# channels, height, width, new height, new width
CASES = [
    (3, 8, 8, 8, 8), (3, 8, 8, 12, 12), (3, 8, 8, 5, 7), (1, 5, 9, 9, 5), (2, 7, 3, 3, 7), (1, 1, 1, 4, 4),
    (1, 1, 6, 2, 3), (3, 16, 12, 17, 11), (1, 9, 9, 1, 1), (2, 6, 10, 6, 11),
    (3, 512, 512, 500, 500), (3, 1024, 1024, 1000, 720), (1, 640, 384, 1280, 720), (3, 1152, 896, 1200, 900),
    (1, 1664, 2432, 2001, 2999),
]


def main():
    out = []
    for channels, height, width, new_height, new_width in CASES:
        index = np.arange(channels * height * width, dtype=np.uint64)
        values = ((index * np.uint64(2654435761)) % np.uint64(2**32)).astype(np.float64) / 2**31 - 1
        planes = torch.from_numpy(values.astype(np.float32)).reshape(1, channels, height, width)
        result = PixArtImageProcessor.resize_and_crop_tensor(planes, new_width, new_height).reshape(-1)
        assert result.numel() == channels * new_height * new_width
        every = 1 if result.numel() < 1000 else 997
        out.append({"channels": channels, "height": height, "width": width, "newHeight": new_height,
                    "newWidth": new_width, "every": every, "values": result[::every].tolist()})
        if every > 1:
            out[-1]["values"] = out[-1]["values"][:1000]
    text = json.dumps(out, separators=(",", ":")).replace('{"channels"', '\n{"channels"')
    (pathlib.Path(__file__).parent / "resize.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
