#!/usr/bin/env python3
"""Starts runs at the same time on the same output, the same sweep folder and the same cache of text embeddings.

One of two runs on an output wins and the other is refused, or both come one after the other; sweeps divide the cells
among them; a cache serves whoever comes. What there is at the end is what one run alone makes. Lock files, drafts and
states that a killed process left claim nothing.

    Robustness/share_folders.py --count 10
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import toys
from interrupt_runs import RUNS, check_files, command, outcome


def start(arguments, environment=None):
    return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            env=dict(os.environ, SWIFT_BACKTRACE="enable=no", **(environment or {})))


def end(process):
    _, errors = process.communicate(timeout=240)
    return process.returncode, errors.decode("utf-8", "replace")


def quiet(name, work):
    folder = work / "quiet"
    folder.mkdir()
    began = time.monotonic()
    status, _, errors = toys.run(command(name, folder), seconds=240, memory=None)
    took = time.monotonic() - began
    if status != 0:
        sys.exit(f"{name}: a run alone ends with {status}: {errors}")
    found = outcome(name, folder)
    shutil.rmtree(folder)
    return found, took


def expect(found, expected):
    if found != expected:
        odd = sorted(key for key in set(found) | set(expected) if found.get(key) != expected.get(key))
        raise toys.Broken(f"differs from a run alone: {odd[:5]}")


def same_output(name, work, expected, took, rng, ends):
    """Two or three runs of the same command, within the time of one."""
    folder = work / "results"
    folder.mkdir()
    runs = []
    for _ in range(rng.choice([2, 2, 3])):
        runs.append(start(command(name, folder)))
        time.sleep(rng.choice([0, rng.random() * took]))
    statuses = []
    for run in runs:
        status, errors = end(run)
        toys.check_end(status, errors, {0} if name == "sweep" else {0, 73})
        if status == 73 and "another run is writing it" not in errors:
            raise toys.Broken(f"ends with 73: {errors.strip()[-300:]}")
        statuses.append(status)
        ends[status] += 1
    if 0 not in statuses:
        raise toys.Broken("every run was refused")
    check_files(folder)
    if name == "sweep":
        # Whoever ends first leaves the others' cells to them: the report is made by the last.
        toys.check_end(*toys.run(command(name, folder), seconds=240, memory=None)[::2], {0})
    expect(outcome(name, folder), expected)
    left = [path.name for path in toys.files(folder) if path.name.endswith((".lock", ".tmp"))]
    if left:
        raise toys.Broken(f"leaves {left[:5]}")


def killed_beside(name, work, expected, took, rng, ends):
    """Of two runs one is killed; what it leaves keeps the next from nothing."""
    folder = work / "results"
    folder.mkdir()
    first = start(command(name, folder))
    time.sleep(rng.random() * took)
    second = start(command(name, folder))
    time.sleep(rng.random() * took / 2)
    victim = rng.choice([first, second])
    victim.send_signal(signal.SIGKILL)
    for run in (first, second):
        status, errors = end(run)
        ends[status] += 1
        if run is not victim:
            toys.check_end(status, errors, {0, 73})
    check_files(folder)
    more = [] if name == "sweep" else ["--resume"]
    toys.check_end(*toys.run(command(name, folder) + more, seconds=240, memory=None)[::2], {0})
    expect(outcome(name, folder), expected)


def large_encoder(work):
    """A small pipeline whose text encoder is large enough to be worth a cache: its vocabulary has more rows."""
    folder = work / "pipeline"
    shutil.copytree(toys.PIPELINES["pixart-sigma"][0], folder)
    config = folder / "text_encoder" / "config.json"
    values = json.loads(config.read_bytes())
    path = next((folder / "text_encoder").glob("*.safetensors"))
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8:8 + length]), data[8 + length:]
    names = [name for name, entry in header.items() if name != "__metadata__" and entry["shape"][0] == values["vocab_size"]]
    rows = (80 << 20) // 4 // header[names[0]]["shape"][1]
    tensors, parts, at = {}, [], 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, stop = entry["data_offsets"]
        bytes_ = body[begin:stop]
        if name in names:
            bytes_ += bytes(len(bytes_) // entry["shape"][0] * (rows - entry["shape"][0]))
            entry["shape"][0] = rows
        tensors[name] = dict(entry, data_offsets=[at, at + len(bytes_)])
        at += len(bytes_)
        parts.append(bytes_)
    text = json.dumps(tensors).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))
    config.write_text(json.dumps(dict(values, vocab_size=rows)))
    return folder


def same_cache(work, pipeline, expected, cut, rng, ends):
    """Runs of few prompts on one cache, one killed, one file cut: pictures are those of runs without a cache."""
    cache, folder = work / "cache", work / "results"
    folder.mkdir()
    runs = []
    for index in range(4):
        prompt = rng.choice(sorted(expected))
        runs.append((prompt, folder / f"{index}.png", start(cached(pipeline, prompt, folder / f"{index}.png"),
                                                            {"TESSERA_CACHE": str(cache)})))
        time.sleep(rng.choice([0, rng.random() * 0.3]))
    victim = rng.randrange(6)
    if victim < len(runs):
        runs[victim][2].send_signal(signal.SIGKILL)
    for index, (prompt, path, run) in enumerate(runs):
        status, errors = end(run)
        ends[status] += 1
        if index == victim and status == -signal.SIGKILL:
            continue
        toys.check_end(status, errors, {0})
        if path.read_bytes() != expected[prompt]:
            raise toys.Broken(f"another picture of '{prompt}'")
    kept = [path for path in toys.files(cache) if path.suffix == ".safetensors"]
    for path in kept:
        # What this script cut stays so until someone asks for it.
        if path.read_bytes() != cut.get(path):
            toys.check_whole(path)
    if not kept and victim >= len(runs):
        raise toys.Broken("nothing was cached")
    if kept and rng.random() < 0.5:
        damaged = rng.choice(kept)
        cut[damaged] = damaged.read_bytes()[:rng.randrange(2000)]
        damaged.write_bytes(cut[damaged])
    shutil.rmtree(folder)


def cached(pipeline, prompt, path):
    return [toys.program("generate-image"), "--pipeline", str(pipeline), "--size", "64x64", "--resolution-binning", "off",
            "--prompt", prompt, "--steps", "2", "--seed", "1", "--threads", "1", "--no-metadata", "-o", str(path)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10, help="trials of each kind")
    parser.add_argument("--run", choices=list(RUNS) + ["cache"], action="append", help="only this run")
    options = parser.parse_args()
    work, broken = pathlib.Path(tempfile.mkdtemp(prefix="shared-")), 0

    def trials(title, body):
        nonlocal broken
        ends = collections.Counter()
        for index in range(options.count):
            try:
                body(random.Random(f"{title} {index}"), ends)
            except (toys.Broken, subprocess.TimeoutExpired, ValueError) as failure:
                broken += 1
                print(f"{title}, trial {index}: {failure}", flush=True)
            finally:
                shutil.rmtree(work / "results", ignore_errors=True)
        print(f"{title}: {options.count} trials; runs ended with "
              + ", ".join(f"{status}: {count}" for status, count in sorted(ends.items())), flush=True)

    try:
        for name in options.run or list(RUNS) + ["cache"]:
            if name == "cache":
                pipeline, expected, cut = large_encoder(work), {}, {}
                for prompt in ("a red ball", "a blue cube", "a tree"):
                    status, _, errors = toys.run(cached(pipeline, prompt, work / "one.png"), memory=None)
                    toys.check_end(status, errors, {0})
                    expected[prompt] = (work / "one.png").read_bytes()
                trials("the same cache", lambda rng, ends: same_cache(work, pipeline, expected, cut, rng, ends))
                continue
            expected, took = quiet(name, work)
            trials(f"{name}, the same folder", lambda rng, ends: same_output(name, work, expected, took, rng, ends))
            trials(f"{name}, one killed", lambda rng, ends: killed_beside(name, work, expected, took, rng, ends))
    finally:
        shutil.rmtree(work)
    print(f"{broken} broken")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
