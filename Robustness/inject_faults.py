#!/usr/bin/env python3
"""Makes every call fail once that a run makes to its output folder: the first, the second, and so on to the last.

After each: an exit code that says so, one error line, nothing half written under a final name, and the work kept, so
that --resume or the rescued frames give what an undisturbed run gives. With --memory, allocations fail instead.

    Robustness/inject_faults.py             # one failing call at a time, and all calls from one on
    Robustness/inject_faults.py --memory 65536
    Robustness/inject_faults.py --allocations --run video     # of any size, the first from each place in the program
"""

import argparse
import collections
import concurrent.futures
import errno
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

import toys

ERRORS = ["ENOSPC", "EIO", "EROFS", "EDQUOT"]

# Name: pipeline, output, more flags.
RUNS = {
    "image": ("dit", "result.png", []),
    "image, all files": ("dit", "result.png", ["--save-latents", "latents.safetensors", "--attention-report",
                                               "report.json", "--preview-every", "1"]),
    "video": ("wan", "result.mp4", ["--checkpoint-every", "0"]),
    "frames": ("wan", "frames/", ["--checkpoint-every", "0"]),
}


def build(work):
    library = work / "fail_nth.so"
    source = pathlib.Path(__file__).with_name("fail_nth.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-fno-omit-frame-pointer", "-o", library, source, "-ldl"], check=True)
    return library


def command(name, folder):
    pipeline, output, more = RUNS[name]
    source, program, flags, _ = toys.PIPELINES[pipeline]
    paths = [str(folder / flag) if flag.endswith((".safetensors", ".json")) else flag for flag in more]
    return [toys.program(program), "--pipeline", str(source), "--steps", "3", "--seed", "1", "--threads", "1",
            "--output", str(folder / output) + ("/" if output.endswith("/") else "")] + flags + paths


def run(arguments, library, log, **settings):
    variables = {"LD_PRELOAD": str(library), "FAIL_LOG": str(log)}
    variables.update({"FAIL_" + key.upper(): str(value) for key, value in settings.items()})
    status, _, errors = toys.run(arguments, memory=None, environment=variables)
    calls, failed, name = log.read_text().split() if log.exists() else (0, 0, "?")
    return status, errors, int(calls), int(failed), name


def contents(folder):
    """Files and what is in them, without what a record says of time and threads."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in toys.files(folder)
            if path.suffix in (".png", ".mp4", ".safetensors") and "preview" not in path.name}


def pictures(files):
    """Pictures compare by their pixels: a file's record holds seconds."""
    result = {}
    for name, data in files.items():
        if not name.endswith(".png"):
            continue
        at, body = 8, b""
        while at < len(data):
            length, kind = struct.unpack(">I4s", data[at:at + 8])
            body += data[at + 8:at + 8 + length] if kind == b"IDAT" else b""
            at += 12 + length
        result[name] = body
    return result


def check_files(folder, drafts_stay):
    """What has a final name is whole, and no draft stays."""
    for path in toys.files(folder):
        if not toys.is_draft(path):
            toys.check_whole(path)
        elif not drafts_stay:
            raise toys.Broken(f"leaves the draft {path.name}")


def check_resumed(arguments, folder, expected):
    """The same command with --resume ends as an undisturbed run did."""
    status, _, errors = toys.run(arguments + ["--resume"], memory=None)
    if status != 0:
        raise toys.Broken(f"--resume ends with {status}: {errors.strip()[-300:]}")
    found = pictures(contents(folder))
    for name, pixels in pictures(expected).items():
        if found.get(name) != pixels:
            raise toys.Broken(f"after --resume {name} differs")


def kept(folder, rescue, errors):
    """Whether the result, a state, latents or frames are there once denoising is done."""
    names = [path.name for path in toys.files(folder)]
    return any(name.endswith("state.safetensors") for name in names) or any(
        place.is_file() or toys.files(place) for place in rescue.glob("tessera-rescued-*"))


def files_pass(name, work, library, rest, broken):
    quiet = work / "quiet"
    quiet.mkdir()
    arguments = command(name, quiet)
    status, errors, count, _, _ = run(arguments, library, work / "log", under=quiet)
    if status != 0 or count == 0:
        raise SystemExit(f"{name}: an undisturbed run ends with {status}: {errors}")
    expected, sites, ends = contents(quiet), collections.Counter(), collections.Counter()
    shutil.rmtree(quiet)
    at = 0
    while True:
        at += 1
        folder = work / "results"
        folder.mkdir()
        rescue = work / "temporary"
        rescue.mkdir()
        arguments, code = command(name, folder), ERRORS[at % len(ERRORS)]
        log = work / "log"
        log.unlink(missing_ok=True)
        variables = {"TMPDIR": str(rescue)}
        variables.update({"LD_PRELOAD": str(library), "FAIL_LOG": str(log), "FAIL_UNDER": str(folder),
                          "FAIL_AT": str(at), "FAIL_ERRNO": str(getattr(errno, code)), "FAIL_REST": str(int(rest))})
        status, _, errors = toys.run(arguments, memory=None, environment=variables)
        failed, site = (log.read_text().split()[1:] if log.exists() else ("0", "none"))
        try:
            if failed == "0":
                toys.check_end(status, errors, {0})
                break
            sites[site] += 1
            ends[status] += 1
            toys.check_end(status, errors, {0, 73, 74})
            # Where files cannot be deleted, drafts cannot be.
            check_files(folder, drafts_stay=rest or site == "unlink")
            steps = "denoise 3/3" in errors
            if status != 0 and steps and not kept(folder, rescue, errors):
                raise toys.Broken("the work is lost")
            if not rest:
                check_resumed(arguments, folder, expected)
        except toys.Broken as failure:
            broken.append(at)
            print(f"{name}: call {at} ({site}, {code}{', and all later' if rest else ''}): {failure}\n"
                  f"  exit {status}: " + " | ".join(errors.strip().splitlines()[-4:]), flush=True)
            if failed == "0":
                break
        finally:
            shutil.rmtree(folder)
            shutil.rmtree(rescue)
    print(f"{name}{', failing on' if rest else ''}: {at - 1} sites ("
          + ", ".join(f"{count} {site}" for site, count in sorted(sites.items())) + "); exit codes "
          + ", ".join(f"{code}: {count}" for code, count in sorted(ends.items(), key=str)), flush=True)


def memory_pass(name, work, library, least, broken):
    at, ends, traps = 0, collections.Counter(), 0
    while True:
        at += 1
        folder = work / "results"
        folder.mkdir()
        log = work / "log"
        log.unlink(missing_ok=True)
        status, errors, _, failed, site = run(
            command(name, folder), library, log, memory=least, at=at, errno=errno.ENOMEM)
        try:
            if not failed:
                toys.check_end(status, errors, {0})
                break
            ends[status] += 1
            for path in toys.files(folder):
                if not toys.is_draft(path):
                    toys.check_whole(path)
            # The language's runtime ends the process when its own arrays cannot grow: no half file is what is left.
            if status is None or (status >= 0 and status not in toys.EXIT_CODES):
                raise toys.Broken(f"ends with {status}")
        except toys.Broken as failure:
            broken.append(at)
            print(f"{name}: allocation {at} ({site}): {failure}\n  " + errors.strip()[-300:], flush=True)
            if not failed:
                break
        finally:
            shutil.rmtree(folder)
    print(f"{name}: {at - 1} allocations of at least {least} bytes; exit codes "
          + ", ".join(f"{code}: {count}" for code, count in sorted(ends.items(), key=str)), flush=True)


def allocation_site(name, work, library, at):
    """The first allocation of the `at`-th place fails: whether there is such a place, the exit code, what was broken."""
    folder, log = work / f"results-{at}", work / f"log-{at}"
    folder.mkdir()
    try:
        status, errors, count, failed, site = run(
            command(name, folder), library, log, memory=1, sites=1, at=at, errno=errno.ENOMEM)
        try:
            # Time is up for a run that waits for what did not happen.
            toys.check_end(status, errors, {0} if not failed else toys.EXIT_CODES)
            for path in toys.files(folder):
                if not toys.is_draft(path):
                    toys.check_whole(path)
        except toys.Broken as failure:
            return failed, status, f"{name}: place {at} ({site}): {failure}\n  " + errors.strip()[-300:]
        return failed, status, None
    finally:
        shutil.rmtree(folder)
        log.unlink(missing_ok=True)


def allocations_pass(name, work, library, first, workers, broken):
    ends, at, done = collections.Counter(), first, False
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        while not done:
            some = range(at, at + 64)
            for number, (failed, status, failure) in zip(
                    some, pool.map(lambda number: allocation_site(name, work, library, number), some)):
                # Threads reach places in an order of their own: the end is where several in a row do not exist.
                done = not failed and number == some[-1]
                ends[status] += bool(failed)
                if failure:
                    broken.append(number)
                    print(failure, flush=True)
            at += len(some)
    print(f"{name}: {sum(ends.values())} places that allocate; exit codes "
          + ", ".join(f"{code}: {count}" for code, count in sorted(ends.items(), key=str)), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", type=int, metavar="BYTES", help="fail allocations of at least so many bytes")
    parser.add_argument("--run", choices=sorted(RUNS), action="append", help="only this run")
    parser.add_argument("--allocations", action="store_true", help="fail the first allocation of each place")
    parser.add_argument("--first", type=int, default=1, help="the first place")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    options = parser.parse_args()
    broken = []
    work = pathlib.Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        library = build(work)
        for name in options.run or RUNS:
            if options.allocations:
                allocations_pass(name, work, library, options.first, options.workers, broken)
            elif options.memory:
                memory_pass(name, work, library, options.memory, broken)
            else:
                for rest in (False, True):
                    files_pass(name, work, library, rest, broken)
    finally:
        shutil.rmtree(work)
    print(f"{len(broken)} broken")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
