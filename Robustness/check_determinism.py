#!/usr/bin/env python3
"""Makes every result again with other numbers of threads, in a second run, and resumed in the middle: all bytes equal.

Every attention method, dtype and way of compressing keys, on pictures and clips of small pipelines. Compared are the
decoded result's file and the final latents. The noise's hash, which every record carries, must be the same as well.

    Robustness/check_determinism.py                        # threads 1, 2, 3, 7
    TESSERA_CPU=avx2 Robustness/check_determinism.py       # on another code path: equal among themselves
"""

import argparse
import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import toys

DTYPES = ["float32", "bfloat16", "int8"]
# Name: pipeline, flags, extension of the result, calibration's size of blocks.
SUBJECTS = {
    "picture": ("pixart-sigma", "generate-image", ["--size", "256x256", "--resolution-binning", "off"], ".png"),
    "tabletop picture": ("tabletop", "generate-image", [], ".png"),
    "clip": ("wan", "generate-video", ["--size", "128x128", "--frames", "9"], ".mp4"),
}
METHODS = ["dense", "sliding-tile:tile={tile},window={window}", "radial", "draft:pool=4x4,sparsity=0.6",
           "random:density=0.4,block=16", "paro:calibration={table},density=0.5"]
STEPS = 6


def calibrate(name, folder, work, flags):
    """A table for PARO, made once for a pipeline."""
    tables = work / f"tables-{name.replace(' ', '-')}"
    status, _, errors = toys.run(
        [toys.program("sweep-attention"), "calibrate", "--method", "paro:block=16,densities=0.5", "--pipeline", folder,
         "--prompt", "a red ball", "--seed", "9", "--steps", str(STEPS), "-o", str(tables)] + flags,
        seconds=300, memory=None)
    if status != 0:
        sys.exit(f"{name}: calibration ends with {status}: {errors}")
    return str(next(tables.glob("paro-*.json")))


def digest(folder, extension):
    """The result's and the latents' hashes, and the hash of the noise."""
    record = json.loads((folder / "result.json").read_bytes()) if (folder / "result.json").exists() else {}
    parts = [hashlib.sha256((folder / name).read_bytes()).hexdigest()[:16]
             for name in ("result" + extension, "latents.safetensors")]
    return tuple(parts + [str(record.get("noise"))])


def stop_in_the_middle(arguments, folder, seconds):
    """Ctrl-C after about half of a run's time; whether a state was left to go on from."""
    with subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        process.wait()
    return any(path.name.endswith("state.safetensors") for path in toys.files(folder))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", default="1,2,3,7")
    options = parser.parse_args()
    threads = [int(count) for count in options.threads.split(",")]
    work = pathlib.Path(tempfile.mkdtemp(prefix="determinism-"))
    rows, runs, differing, resumed = 0, 0, 0, 0
    try:
        for subject, (pipeline, program, flags, extension) in SUBJECTS.items():
            folder = str(toys.PIPELINES[pipeline][0])
            table = calibrate(subject, folder, work, flags)
            places = {"tile": "2x4x4" if extension == ".mp4" else "1x4x4", "window": "3x1x3" if extension == ".mp4"
                      else "1x3x3", "table": table}
            choices = [["--attention", method.format(**places)] for method in METHODS]
            if extension == ".png":
                choices += [["--kv-compression", "average:ratio=2,layers=0-1"],
                            ["--kv-compression", "uniform:ratio=2,layers=0-1", "--attention", "draft:pool=4x4"]]
            for choice in choices:
                for dtype in DTYPES:
                    found = {}
                    took = 1.0
                    for label in [f"{count} threads" for count in threads] + ["again", "resumed"]:
                        out = work / "out"
                        out.mkdir()
                        count = label.split()[0] if "threads" in label else str(threads[-1 if label == "resumed" else 0])
                        arguments = [
                            toys.program(program), "--pipeline", folder, "--prompt", "a red ball", "--seed", "3",
                            "--steps", str(STEPS), "--dtype", dtype, "--threads", count, "--no-metadata",
                            "--checkpoint-every", "0", "--save-latents", str(out / "latents.safetensors"), "-o",
                            str(out / ("result" + extension))] + flags + choice
                        if label == "resumed":
                            resumed += stop_in_the_middle(arguments, out, took * 0.5)
                            arguments.append("--resume")
                        began = time.monotonic()
                        status, _, errors = toys.run(arguments, seconds=300, memory=None)
                        if label == "again":
                            took = time.monotonic() - began
                        runs += 1
                        if status != 0:
                            sys.exit(f"{subject}, {choice}, {dtype}, {label}: ends with {status}: {errors}")
                        found[label] = digest(out, extension)
                        shutil.rmtree(out)
                    rows += 1
                    odd = [label for label, value in found.items() if value != found[f"{threads[0]} threads"]]
                    differing += bool(odd)
                    print(f"{'DIFFERS ' + str(odd) if odd else 'equal'}  {subject}, {dtype}, {' '.join(choice)}: "
                          f"{found[f'{threads[0]} threads'][1]}".replace(table, "TABLE"), flush=True)
    finally:
        shutil.rmtree(work)
    print(f"{rows} combinations, {runs} runs ({resumed} gone on with after Ctrl-C): {differing} differ")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
