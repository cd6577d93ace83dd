"""What attention methods save and lose on a trained pipeline: every method against dense attention, same prompts and
seeds, as a table in Markdown.

    python Benchmarks/compare_attention.py --pipeline pipelines/tabletop-image --size 256x256 --out outputs/attention \
        --dense-steps 5 "sliding-tile:tile=1x4x4,window=1x5x7" "draft:pool=4x4,sparsity=0.5" ...

Each method is run right after a dense run of the same pictures, so that their attention times pair up; quality is
measured on the pictures themselves (PNG, no loss). Needs numpy, pillow and scikit-image.
"""

import argparse
import json
import os
import statistics
import subprocess

import numpy
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

PROMPTS = [
    "a large red sphere on a grey floor", "a small blue cube on a wooden floor",
    "a green cone left of a yellow cylinder", "a purple sphere behind a white cube",
    "a large orange cylinder and a small blue sphere", "three things in a row: a red cube, a green sphere, a blue cone",
    "a yellow cone on a checkered floor", "a small white sphere in front of a large black cube",
]


def run(args, name, attention):
    """Draws all prompts; returns their pictures and the records of the runs."""
    folder = os.path.join(args.out, name)
    os.makedirs(folder, exist_ok=True)
    command = [args.program, "-m", args.pipeline, "--prompts-file", os.path.join(args.out, "prompts.txt"), "--seed",
               str(args.seed), "--size", args.size, "--dtype", args.dtype, "-t", str(args.threads), "--json", "-q",
               "-o", os.path.join(folder, "%04d.png"), "--attention", attention]
    if args.steps:
        command += ["--steps", str(args.steps)]
    if attention != "dense":
        for flag, value in (("--dense-steps", args.dense_steps), ("--dense-layers", args.dense_layers)):
            command += [flag, str(value)] if value is not None else []
    if args.kv_compression and name not in ("dense",):
        command += ["--kv-compression", args.kv_compression]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\nexit {done.returncode}: {done.stderr}")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [numpy.asarray(Image.open(line["path"])) for line in lines], [line["record"] for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="+", help="as --attention takes them; prefix kv= for a --kv-compression")
    parser.add_argument("--program", default=".build/release/generate-image")
    parser.add_argument("--pipeline", required=True)
    parser.add_argument("--prompts", help="file with a prompt a line; eight of the tabletop world by default")
    parser.add_argument("--out", required=True)
    parser.add_argument("--size", default="256x256")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dense-steps", type=int)
    parser.add_argument("--dense-layers", type=int, default=0)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    args.kv_compression = None
    os.makedirs(args.out, exist_ok=True)
    prompts = open(args.prompts).read().splitlines() if args.prompts else PROMPTS
    with open(os.path.join(args.out, "prompts.txt"), "w") as file:
        file.write("\n".join(prompts) + "\n")

    rows = []
    for index, method in enumerate(args.methods):
        dense, dense_records = run(args, "dense", "dense")
        compression, _, attention = method.partition("kv=")[2].partition("+") if method.startswith("kv=") else ("", "", method)
        args.kv_compression = compression or None
        pictures, records = run(args, f"{index:02d}", attention or "dense")
        args.kv_compression = None
        psnr = [peak_signal_noise_ratio(a, b) if (a != b).any() else float("inf") for a, b in zip(dense, pictures)]
        ssim = [structural_similarity(a, b, channel_axis=2) for a, b in zip(dense, pictures)]
        # The first picture of a process warms it up.
        pairs = list(zip(dense_records, records))[1:]
        speedup = statistics.median(
            a["seconds"]["attention"] / (b["seconds"]["attention"] + b["seconds"].get("attention plans", 0))
            for a, b in pairs)
        attention_record = records[0]["attention"]
        densities = [r["attention"]["density"] for r in records]
        row = {"method": method, "density": statistics.mean(densities),
               "run_density": statistics.mean(r["attention"]["run_density"] for r in records),
               "psnr": statistics.mean(psnr), "psnr_sd": statistics.stdev(psnr), "ssim": statistics.mean(ssim),
               "speedup": speedup, "dense_steps": attention_record.get("dense_steps")}
        rows.append(row)
        print(f"{method}: density {row['density']:.3f}, run {row['run_density']:.3f}, PSNR {row['psnr']:.2f} "
              f"+- {row['psnr_sd']:.2f} dB, SSIM {row['ssim']:.4f}, attention {speedup:.2f}x", flush=True)
    with open(os.path.join(args.out, "results.json"), "w") as file:
        json.dump(rows, file, indent=1)
    lines = ["| method | density of sparse calls | run density | PSNR dB | SSIM | attention speed-up |",
             "|---|--:|--:|--:|--:|--:|"]
    for row in rows:
        lines.append(f"| `{row['method']}` | {row['density']:.3f} | {row['run_density']:.3f} | {row['psnr']:.2f} | "
                     f"{row['ssim']:.4f} | {row['speedup']:.2f}x |")
    table = "\n".join(lines) + "\n"
    with open(os.path.join(args.out, "results.md"), "w") as file:
        file.write(table)
    print(table)


if __name__ == "__main__":
    main()
