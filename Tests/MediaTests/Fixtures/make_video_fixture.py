"""Writes colours.mp4 beside this file: one frame, coded losslessly, of four flat quarters (red, green, blue, grey) whose
luma and chroma are computed here from BT.709's definition. Needs numpy and the ffmpeg program."""

import subprocess
from pathlib import Path

import numpy as np


def bt709(red, green, blue):
    """Limited-range Y, Cb, Cr of 8-bit RGB (Recommendation ITU-R BT.709-6, items 3.2 to 3.5)."""
    kr, kb = 0.2126, 0.0722
    r, g, b = (value / 255 for value in (red, green, blue))
    y = kr * r + (1 - kr - kb) * g + kb * b
    cb, cr = (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))
    return round(16 + 219 * y), round(128 + 224 * cb), round(128 + 224 * cr)


planes = [np.zeros((32, 32), np.uint8), np.zeros((16, 16), np.uint8), np.zeros((16, 16), np.uint8)]
for quarter, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)]):
    row, column = divmod(quarter, 2)
    for plane, value in zip(planes, bt709(*colour)):
        half = len(plane) // 2
        plane[row * half : (row + 1) * half, column * half : (column + 1) * half] = value
tags = "-color_primaries bt709 -color_trc bt709 -colorspace bt709 -color_range tv"
coding = "-c:v libx264 -qp 0 -bsf:v filter_units=remove_types=6 -fflags +bitexact -flags +bitexact"
subprocess.run(
    ["ffmpeg", "-v", "error", "-y", *"-f rawvideo -pix_fmt yuv420p -s 32x32 -r 16 -i -".split(), *coding.split()]
    + [*tags.split(), str(Path(__file__).with_name("colours.mp4"))],
    input=b"".join(plane.tobytes() for plane in planes),
    check=True,
)
