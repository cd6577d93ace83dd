#!/usr/bin/env python3
"""Runs on disks that are too small, from one page up to the size that is enough, then makes room and goes on.

Each disk is a tmpfs of its own, so this needs the right to mount (root, or `unshare -rm`). On every size: exit code 0,
73 or 74, one error line, nothing half under a final name, no draft left, the work kept in the folder or in the temporary
one. With room, --resume (of a sweep, the same command) ends with the same bytes as a run that had it from the start.

    Robustness/fill_disks.py
"""

import argparse
import collections
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import toys
from inject_faults import kept
from interrupt_runs import RUNS, check_files, command, outcome

PAGE = 4096


def mount(disk, pages, options=""):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"{options}size={pages * PAGE}", "tmpfs", disk], check=True)


def said(errors, *names):
    """The error line, with what differs from run to run left out."""
    lines = [line for line in errors.splitlines() if line.startswith("error:")]
    line = lines[0] if lines else ""
    for name, path in names:
        line = line.replace(str(path), name)
    return re.sub(r"tessera-rescued-[^/ ]*", "tessera-rescued-ID", re.sub(r"cells/[^ :]*", "cells/...", line))


def check(name, work, pages, expected):
    """One size: whether it was enough, the exit status and what was said."""
    disk, rescue = work / "disk", work / "temporary"
    disk.mkdir(), rescue.mkdir()
    mount(disk, pages)
    try:
        arguments = command(name, disk)
        status, _, errors = toys.run(arguments, seconds=120, memory=None, environment={"TMPDIR": str(rescue)})
        toys.check_end(status, errors, {0, 73, 74})
        check_files(disk)
        drafts = [path.name for path in toys.files(disk) if toys.is_draft(path)]
        if drafts:
            raise toys.Broken(f"leaves {drafts[:3]}")
        steps = re.findall(r"denoise (\d+)/(\d+)", errors)
        if status != 0 and name != "sweep" and steps and steps[-1][0] == steps[-1][1] and not kept(disk, rescue, errors):
            raise toys.Broken("the work is lost")
        mount(disk, 1 << 16, "remount,")
        if status != 0:
            again, _, later = toys.run(arguments + ([] if name == "sweep" else ["--resume"]), seconds=120, memory=None)
            toys.check_end(again, later, {0})
        found = outcome(name, disk)
        if found != expected:
            raise toys.Broken(f"differs from an undisturbed run: "
                              f"{sorted(key for key in set(found) | set(expected) if found.get(key) != expected.get(key))[:5]}")
        return status, said(errors, ("DISK", disk), ("TMPDIR", rescue))
    except toys.Broken as failure:
        raise toys.Broken(f"{failure}\n  exit {status}: " + " | ".join(errors.strip().splitlines()[-4:]))
    finally:
        subprocess.run(["umount", disk], check=True)
        shutil.rmtree(disk), shutil.rmtree(rescue)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", choices=list(RUNS), action="append", help="only this run")
    parser.add_argument("--growth", type=float, default=1.3, help="how much larger each disk is than the one before")
    options = parser.parse_args()
    work, broken = pathlib.Path(tempfile.mkdtemp(prefix="full-")), 0
    try:
        for name in options.run or RUNS:
            quiet = work / "quiet"
            quiet.mkdir()
            status, _, errors = toys.run(command(name, quiet), seconds=120, memory=None)
            if status != 0:
                sys.exit(f"{name}: an undisturbed run ends with {status}: {errors}")
            expected = outcome(name, quiet)
            shutil.rmtree(quiet)
            pages, sizes, lines, ends = 1, 0, collections.Counter(), collections.Counter()
            while True:
                try:
                    sizes += 1
                    status, line = check(name, work, pages, expected)
                    ends[status] += 1
                    if status == 0:
                        break
                    lines[line] += 1
                except toys.Broken as failure:
                    broken += 1
                    print(f"{name}, {pages * PAGE >> 10} KiB: {failure}", flush=True)
                    if pages > 1 << 15:
                        break
                pages = max(pages + 1, int(pages * options.growth))
            print(f"{name}: {sizes} sizes up to {pages * PAGE >> 10} KiB; exit codes "
                  + ", ".join(f"{code}: {count}" for code, count in sorted(ends.items())), flush=True)
            for line, count in lines.most_common():
                print(f"  {count} x {line}", flush=True)
    finally:
        shutil.rmtree(work)
    print(f"{broken} broken")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
