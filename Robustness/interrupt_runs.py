#!/usr/bin/env python3
"""Ends runs at random moments, by kill -9 and by Ctrl-C, goes on with --resume, and compares with undisturbed runs.

Pictures, clips, frames, latents and a sweep's measurements must come out the same to the byte. At no moment may a half
file lie under a final name. A seed names a trial for good, up to the machine's own timing.

    Robustness/interrupt_runs.py --count 200        # 200 times kill -9 and 200 times Ctrl-C
"""

import argparse
import collections
import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import toys

STEPS = {"dit": "60", "pixart-sigma": "40", "wan": "20", "tabletop": "6"}

# Name: pipeline, output. No metadata, which holds seconds, so that whole files can be compared.
RUNS = {
    "dit image": ("dit", "result.png"),
    "pixart image": ("pixart-sigma", "result.png"),
    "tabletop image": ("tabletop", "result.png"),
    "video": ("wan", "result.mp4"),
    "frames": ("wan", "frames/"),
    "sweep": (None, "sweep"),
}

SPEC = {
    "pipeline": str(toys.FIXTURES / "toy-pixart-sigma"), "prompts": ["a red cube", "two trees"], "seeds": "1-2",
    "densities": [0.5], "sampling": {"steps": 4, "dtype": "float32", "size": "128x128"},
    "methods": ["draft:pool=4x4"],
}


def command(name, folder):
    pipeline, output = RUNS[name]
    if not pipeline:
        spec = folder.parent / "spec.json"
        spec.write_text(json.dumps(SPEC))
        return [toys.program("sweep-attention"), "run", "--spec", str(spec), "--threads", "2", "-o", str(folder / output)]
    source, program, flags, _ = toys.PIPELINES[pipeline]
    return [toys.program(program), "--pipeline", str(source), "--steps", STEPS[pipeline], "--seed", "1", "--threads",
            "2", "--checkpoint-every", "0", "--no-metadata", "--save-latents", str(folder / "latents.safetensors"),
            "--output", str(folder / output) + ("/" if output.endswith("/") else "")] + flags


def outcome(name, folder):
    """What must not depend on interruptions: files by name, and of a sweep the measurements."""
    found = {}
    for path in toys.files(folder):
        relative = str(path.relative_to(folder))
        if path.name.startswith(".") or relative.startswith("sweep/plots") or path.name == "report.html":
            continue
        if path.suffix in (".png", ".mp4") or path.name == "latents.safetensors":
            found[relative] = path.read_bytes()
        elif path.name == "cell.json":
            cell = json.loads(path.read_bytes())
            found[relative] = json.dumps([cell.get("metrics"), cell.get("densities")], sort_keys=True)
    return found


def check_files(folder):
    for path in toys.files(folder):
        if not toys.is_draft(path) and not path.name.endswith(".lock"):
            toys.check_whole(path)


def interrupt(arguments, number, delay):
    """Starts a run and ends it after some seconds: the exit status, and what it said."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            process.wait(timeout=delay)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        status = process.wait(timeout=60)
        errors.seek(0)
        return status, errors.read().decode("utf-8", "replace")


def trial(name, number, work, expected, duration, rng, ends):
    folder = work / "results"
    folder.mkdir()
    arguments = command(name, folder)
    more = [] if name == "sweep" else ["--resume"]
    times = 0
    while times == 0 or (times < 5 and rng.random() < 0.5):
        status, errors = interrupt(arguments + (more if times else []), number, rng.random() * duration)
        times += 1
        ends[status] += 1
        check_files(folder)
        # A signal that comes before the program listens ends it as it would any program, with nothing begun.
        allowed = {0, 130, -signal.SIGINT} if number == signal.SIGINT else {0, -signal.SIGKILL}
        if status not in allowed or (status == -signal.SIGINT and toys.files(folder) and times == 1):
            raise toys.Broken(f"ends with {status}: {errors.strip()[-300:]}")
        if status == 0:
            break
    status, _, errors = toys.run(arguments + more, seconds=120, memory=None)
    if status != 0:
        raise toys.Broken(f"going on ends with {status}: {errors.strip()[-300:]}")
    check_files(folder)
    found = outcome(name, folder)
    if found != expected:
        differing = sorted(key for key in set(found) | set(expected) if found.get(key) != expected.get(key))
        raise toys.Broken(f"differs from an undisturbed run after {times} interruptions: {differing[:5]}")
    left = [path.name for path in toys.files(folder) if path.name.endswith("state.safetensors")]
    if left:
        raise toys.Broken(f"leaves {left}")
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=30, help="trials by kill -9, and as many by Ctrl-C")
    parser.add_argument("--first", type=int, default=0, help="the first trial's seed")
    parser.add_argument("--run", choices=list(RUNS), action="append", help="only this run")
    options = parser.parse_args()
    names, broken = options.run or list(RUNS), 0
    work = pathlib.Path(tempfile.mkdtemp(prefix="interrupted-"))
    expected, durations = {}, {}
    try:
        for name in names:
            folder = work / "quiet"
            folder.mkdir()
            start = time.monotonic()
            status, _, errors = toys.run(command(name, folder), seconds=120, memory=None)
            durations[name] = time.monotonic() - start
            if status != 0:
                sys.exit(f"{name}: an undisturbed run ends with {status}: {errors}")
            expected[name] = outcome(name, folder)
            shutil.rmtree(folder)
        for number, title in ((signal.SIGKILL, "kill -9"), (signal.SIGINT, "Ctrl-C")):
            ends, interruptions = collections.Counter(), 0
            for index in range(options.first, options.first + options.count):
                rng, name = random.Random(f"{title} {index}"), names[index % len(names)]
                try:
                    interruptions += trial(name, number, work, expected[name], durations[name], rng, ends)
                except (toys.Broken, subprocess.TimeoutExpired, ValueError) as failure:
                    broken += 1
                    print(f"{title}, trial {index}, {name}: {failure}", flush=True)
                finally:
                    shutil.rmtree(work / "results")
            print(f"{title}: {options.count} trials, {interruptions} interruptions; runs ended with "
                  + ", ".join(f"{status}: {count}" for status, count in sorted(ends.items())), flush=True)
    finally:
        shutil.rmtree(work)
    print(f"{broken} broken")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
