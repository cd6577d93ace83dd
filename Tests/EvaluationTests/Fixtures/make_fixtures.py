"""Writes metrics.json: what reference implementations say of made-up pictures, clips and numbers.

    python make_fixtures.py

Made with scikit-image 0.26.0, scipy 1.17.1, pytorch-msssim 1.0.0, flip-evaluator 1.7, numpy 2.4.6 (Python 3.11, x86-64).
"""

import json
import pathlib
import sys

import flip_evaluator
import numpy as np
import scipy.ndimage
import scipy.stats
import torch
from pytorch_msssim import ms_ssim
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

sys.dont_write_bytecode = True
from images import CHANGES, clip, pair  # noqa: E402

SMALL = [(64, 48), (37, 53), (11, 11)]
LARGE = [(192, 176), (161, 170), (203, 181)]


def similarity_scales(x, y):
    """MS-SSIM of two planes from the paper: contrast at each scale, luminance at the last, means of 2x2 between."""
    weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
    x, y, result = x.astype(np.float64), y.astype(np.float64), 1.0
    for scale, weight in enumerate(weights):
        if scale:
            # The means start at even rows and columns; beyond the border the last one is repeated.
            x, y = (scipy.ndimage.uniform_filter(p, 2, mode="nearest", origin=-1)[::2, ::2] for p in (x, y))

        def blur(p):
            return scipy.ndimage.gaussian_filter(p, 1.5, truncate=3.5, mode="reflect")[5:-5, 5:-5]

        mx, my = blur(x), blur(y)
        vx, vy, vxy = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
        value = (2 * vxy + 58.5225) / (vx + vy + 58.5225)
        if scale == 4:
            value = value * (2 * mx * my + 6.5025) / (mx * mx + my * my + 6.5025)
        result *= max(value.mean(), 0) ** weight
    return result


def image_cases():
    cases = []
    for number, (width, height) in enumerate(SMALL + LARGE):
        for change in CHANGES:
            frame, reference = pair(change, width, height, number + 1)
            case = {"change": change, "width": width, "height": height, "seed": number + 1}
            if change != "same":
                case["psnr"] = peak_signal_noise_ratio(reference, frame, data_range=255)
            case["ssim"] = structural_similarity(
                reference, frame, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255,
                channel_axis=2)
            _, case["flip"], _ = flip_evaluator.evaluate(
                (reference / 255).astype(np.float32), (frame / 255).astype(np.float32), "LDR", applyMagma=False)
            if (width, height) in LARGE:
                case["msSSIM"] = float(np.mean([similarity_scales(frame[..., c], reference[..., c]) for c in range(3)]))
            if width % 16 == 0 and height % 16 == 0 and (width, height) in LARGE:
                planes = [torch.from_numpy(p).permute(2, 0, 1)[None].double() for p in (frame, reference)]
                other = ms_ssim(*planes, data_range=255).item()
                assert abs(other - case["msSSIM"]) < 1e-6, (other, case)
                case["pytorchMSSSIM"] = other
            cases.append(case)
    return cases


def clip_case():
    width, height, frames = 40, 24, 6
    a, b = (np.stack(clip(width, height, frames, 3, s)).astype(np.float64) for s in (9, 2))
    steps = np.diff(a, axis=0), np.diff(b, axis=0)
    flicker = [np.abs(s).mean((1, 2, 3)) for s in steps]
    return {
        "width": width, "height": height, "frames": frames, "seed": 3, "strengths": [9, 2],
        "temporalDifferenceError": np.sqrt(((steps[0] - steps[1]) ** 2).mean((1, 2, 3))).tolist(),
        "flicker": flicker[0].tolist(), "flickerExcess": (flicker[0] - flicker[1]).tolist(),
        # VBench's temporal_flickering: mean of the steps' mean absolute error, from 255 down, over 255.
        "vbenchScore": float((255 - flicker[0].mean()) / 255),
        "psnr": [peak_signal_noise_ratio(y.astype(np.uint8), x.astype(np.uint8)) for x, y in zip(a, b)],
    }


class SplitMix64:
    def __init__(self, seed):
        self.state = seed

    def below(self, count):
        mask = 2**64 - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        word = self.state
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & mask
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & mask
        return ((word ^ (word >> 31)) * count) >> 64


def statistics_cases():
    values = [31.5, 28.25, 40.125, 22.75, 29.5, 35.0, 27.625, 33.375, 30.0, 24.5, 38.875, 26.0]
    cases = []
    for name, statistic in (("mean", np.mean), ("median", np.median)):
        generator = SplitMix64(7)
        drawn = [statistic([values[generator.below(len(values))] for _ in values]) for _ in range(2000)]
        lower, upper = np.quantile(drawn, [0.05, 0.95])
        scipys = scipy.stats.bootstrap(
            (values,), statistic, confidence_level=0.9, n_resamples=20000, method="percentile", random_state=1)
        case = {"statistic": name, "lower": lower, "upper": upper,
                "scipyLower": scipys.confidence_interval.low, "scipyUpper": scipys.confidence_interval.high}
        cases.append({k: v if isinstance(v, str) else float(v) for k, v in case.items()})
    return {"values": values, "seed": 7, "resamples": 2000, "confidence": 0.9, "intervals": cases,
            "quantiles": {str(q): float(np.quantile(values, q)) for q in (0, 0.1, 0.25, 0.5, 0.75, 1)}}


def main():
    out = {"images": image_cases(), "clip": clip_case(), "statistics": statistics_cases()}
    text = json.dumps(out, separators=(",", ":")).replace('{"change"', '\n{"change"')
    (pathlib.Path(__file__).parent / "metrics.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
