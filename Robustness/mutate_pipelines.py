#!/usr/bin/env python3
"""Damages pipeline folders at random and runs the programs on them.

Every run must end with a documented exit code and one line that says what is wrong, or with a whole picture: never
with a trap, a signal or a half file. A seed names a mutation for good:

    Robustness/mutate_pipelines.py --count 500            # mutations 0 to 499
    Robustness/mutate_pipelines.py --first 17 --count 1 --keep   # number 17 again; its folder stays
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile

import toys


# --- Files as bytes

def flip(data, rng):
    for _ in range(rng.choice([1, 1, 4, 64])):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def flip_start(data, rng):
    for _ in range(rng.choice([1, 2, 8])):
        if data:
            data[rng.randrange(min(len(data), 400))] = rng.choice([0, 0xff, 0x7f, 0x80, rng.randrange(256)])


def truncate(data, rng):
    del data[rng.choice([0, 1, 7, 8, 9, rng.randrange(len(data) + 1), max(0, len(data) - 1)]):]


def extend(data, rng):
    data += bytes(rng.randrange(256) for _ in range(rng.choice([1, 8, 1000])))


def insert(data, rng):
    at = rng.randrange(len(data) + 1)
    data[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice([1, 2, 16])))


def cut(data, rng):
    at = rng.randrange(len(data) + 1)
    del data[at:at + rng.choice([1, 2, 16, 1000])]


def repeat(data, rng):
    at = rng.randrange(len(data) + 1)
    data[at:at] = data[at:at + rng.choice([4, 32, 1000])]


BYTES = [flip, flip_start, truncate, extend, insert, cut, repeat]


# --- JSON

NUMBERS = [0, -1, 1, 2, 3, 7, 10**6, 10**9, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64, -2**63, 10**30, 1e308, -1e308,
           1e-320, 0.5, -0.0, float("nan"), float("inf"), float("-inf")]
VALUES = [None, True, False, "", "x", "../../etc/passwd", "\0", "\U0001f600" * 50, [], {}, [[]], [None], {"": {}}, [1, 2],
          "a" * 100_000, list(range(2000))]


def places(value, path=()):
    """All places in a JSON value: the container and the key."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    for key, child in list(pairs):
        yield value, key
        yield from places(child)


def change_json(value, rng):
    found = list(places(value))
    if not found:
        return json.dumps(rng.choice(VALUES + NUMBERS))
    holder, key = rng.choice(found)
    kind = rng.randrange(7)
    old = holder[key]
    if kind == 0:
        del holder[key]
    elif kind == 1:
        holder[key] = rng.choice(VALUES)
    elif kind == 2 or kind == 3:
        number = isinstance(old, (int, float)) and not isinstance(old, bool)
        scaled = [old * 2, old + 1, old - 1, -old, old // 2 if old == old else old] if number else []
        holder[key] = rng.choice(NUMBERS + scaled * 2)
    elif kind == 4:
        # Another value of the same file.
        other, name = rng.choice(found)
        holder[key] = other[name]
        return json.dumps(value) if rng.random() < 0.9 else json.dumps([value])
    elif kind == 5:
        text = json.dumps(value)
        deep = rng.choice([100, 2000, 100_000, 1_000_000])
        opened = rng.choice([("[", "]"), ('{"a":', "}")])
        return text.replace(json.dumps(old), opened[0] * deep + "1" + opened[1] * deep * rng.randrange(2), 1)
    else:
        # A key twice.
        name = key if isinstance(key, str) else "x"
        return "{" + json.dumps(name) + ":" + json.dumps(rng.choice(VALUES + NUMBERS)) + "," + json.dumps(value)[1:]
    return json.dumps(value)


def mutate_json(data, rng):
    value = json.loads(data)
    data[:] = change_json(value, rng).encode("utf-8", "surrogatepass")


# --- Safetensors

def mutate_safetensors(data, rng):
    length = int.from_bytes(data[:8], "little")
    if rng.randrange(5) == 0:
        data[:8] = rng.choice([0, 1, length - 1, length + 1, len(data), 2**31, 2**63, 2**64 - 1, 10**8, 10**8 + 1]
                              ).to_bytes(8, "little")
        return
    header, body = json.loads(data[8:8 + length]), data[8 + length:]
    names = [name for name in header if name != "__metadata__"]
    name = rng.choice(names)
    entry = header[name]
    kind = rng.randrange(9)
    if kind == 0:
        entry["dtype"] = rng.choice(["F64", "F16", "BF16", "I64", "I8", "BOOL", "F8_E4M3", "U8", "", "X" * 1000])
    elif kind == 1:
        entry["shape"] = rng.choice([
            [], [0], [-1], entry["shape"][::-1], entry["shape"] + [1], [2**32, 2**32], [2**62, 4], [2**63 - 1],
            entry["shape"][:-1], [1] * 10_000, [1.5]])
    elif kind == 2:
        entry["data_offsets"] = rng.choice([
            [0, 0], [-4, 4], [0, 2**62], [2**62, 2**62 + 4], [8, 4], entry["data_offsets"] + [1], [], [0, 2**63 - 1],
            [entry["data_offsets"][0] + 4, entry["data_offsets"][1] + 4]])
    elif kind == 3:
        # Another tensor's bytes, and shapes that fit them.
        other = header[rng.choice(names)]
        header[name] = dict(other)
    elif kind == 4:
        # A type of the same size: values become anything.
        entry["dtype"] = {"F32": "I32", "F16": "BF16", "BF16": "F16"}.get(entry["dtype"], "F32")
    elif kind == 5:
        header[rng.choice(["", "x" * 5000, name.upper(), "../" + name])] = header.pop(name)
    elif kind == 6:
        # Values that are no numbers, or too large.
        start, end = entry["data_offsets"]
        size = {"F32": 4, "F16": 2, "BF16": 2}.get(entry["dtype"], 4)
        word = {"F32": [b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f"], "F16": [b"\0\x7e", b"\0\x7c"],
                "BF16": [b"\xc0\x7f", b"\x80\x7f"]}.get(entry["dtype"], [b"\xff\xff\xff\xff"])
        for _ in range(rng.choice([1, 10])):
            if end > start:
                at = start + rng.randrange((end - start) // size) * size
                body[at:at + size] = rng.choice(word)
    elif kind == 7:
        header = rng.choice([[], {}, {name: entry}, {name: None}, dict(header, extra={"dtype": "F32"}), "x", 3])
    else:
        header["__metadata__"] = rng.choice([{"a": 1}, [], {"format": "x" * 1_000_000}, "pt", None])
    text = json.dumps(header).encode()
    data[:] = len(text).to_bytes(8, "little") + text + body


# --- Files in the folder

def replace_file(path, folder, rng):
    """Puts something else where a file was: nothing, a folder, a pipe, a link, another file."""
    everything = sorted(other for other in folder.rglob("*") if other.is_file() and other != path)
    kind = rng.randrange(9)
    other = rng.choice(everything)
    if kind == 7:
        # The two swap places.
        spare = path.with_name("spare")
        path.rename(spare), other.rename(path), spare.rename(other)
        return f"swap with {other.relative_to(folder)}"
    if kind == 8:
        path.chmod(0)
        return "no permission"
    path.unlink()
    if kind == 0:
        return "removed"
    if kind == 1:
        path.mkdir()
        return "a folder"
    if kind == 2:
        os.mkfifo(path)
        return "a pipe"
    if kind == 3:
        path.symlink_to(rng.choice(["/etc/passwd", "/dev/zero", "/dev/full", "/", path.name, "../../nothing"]))
        return f"a link to {os.readlink(path)}"
    if kind == 4:
        path.write_bytes(b"")
        return "empty"
    if kind == 5:
        shutil.copy(other, path)
        return f"a copy of {other.relative_to(folder)}"
    with open(path, "wb") as file:
        file.truncate(rng.choice([1, 100 << 20, 3 << 30]))
    return "zeros"


def make_index(path, folder, rng):
    """An index of shards in place of a single weight file."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    names = [name for name in json.loads(data[8:8 + length]) if name != "__metadata__"]
    shard = rng.choice(["part.safetensors", "part.safetensors", "../part.safetensors", "/etc/passwd", "..", "",
                        "a/../../part.safetensors", "part.bin", "\0.safetensors", str(path)])
    weights = {name: shard for name in names}
    kind = rng.randrange(4)
    if kind == 0:
        weights[rng.choice(names)] = rng.choice(["other.safetensors", 3, None, [], {}])
    elif kind == 1:
        weights["extra"] = shard
    path.rename(path.with_name("part.safetensors"))
    index = rng.choice([{"weight_map": weights}, {"weight_map": weights, "metadata": 3}, {"weight_map": []}, [], {}])
    path.with_name(path.name + ".index.json").write_text(json.dumps(index))
    return f"an index of '{shard}', kind {kind}"


# --- One mutation

def mutate(folder, rng):
    """Damages a folder once or twice; what was done."""
    done = []
    for _ in range(rng.choice([1, 1, 1, 2])):
        candidates = sorted(path for path in folder.rglob("*")
                            if path.is_file() and not path.is_symlink() and path.name not in ("README.md", "samples.png"))
        # Every file is as likely, whatever its size.
        path = rng.choice(candidates)
        name = str(path.relative_to(folder))
        way = rng.random()
        try:
            if way < 0.2:
                done.append(f"{name}: {replace_file(path, folder, rng)}")
                continue
            if way < 0.25 and path.suffix == ".safetensors":
                done.append(f"{name}: {make_index(path, folder, rng)}")
                continue
            data = bytearray(path.read_bytes())
            change = rng.choice(BYTES)
            if way > 0.45 and path.suffix == ".json":
                change = mutate_json
            elif way > 0.45 and path.suffix == ".safetensors":
                change = mutate_safetensors
            change(data, rng)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
            # Damaged before.
            data, change = bytearray(path.read_bytes()), flip
            change(data, rng)
        path.write_bytes(data)
        done.append(f"{name}: {change.__name__}")
    return "; ".join(done)


def check(number, keep):
    rng = random.Random(number)
    name = rng.choice(sorted(toys.PIPELINES))
    source, program, flags, ending = toys.PIPELINES[name]
    work = pathlib.Path(tempfile.mkdtemp(prefix=f"mutation-{number}-"))
    try:
        folder, results = work / "pipeline", work / "results"
        shutil.copytree(source, folder)
        results.mkdir()
        what = f"{name}: {mutate(folder, rng)}"
        flags = flags + rng.choice([[], [], ["--dtype", "float32"], ["--dry-run"]])
        arguments = [toys.program(program), "--pipeline", str(folder), "--steps", "2", "--seed", "1", "--threads", "1",
                     "--output", str(results / ("result" + ending))] + flags
        status, _, errors = toys.run(arguments)
        try:
            toys.check_end(status, errors)
            made = [path for path in toys.files(results) if not path.name.endswith("-state.safetensors")]
            if status == 0 and "--dry-run" not in flags:
                if not made:
                    raise toys.Broken("success without a result")
                for path in made:
                    toys.check_whole(path)
            elif made:
                raise toys.Broken(f"failure leaves {[path.name for path in made]}")
            return status, what, errors, None
        except toys.Broken as broken:
            return status, what, errors, str(broken) + "\n  " + " ".join(arguments)
    finally:
        if not keep:
            for path in work.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    path.chmod(0o600)
            shutil.rmtree(work)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="leave the damaged folders in the temporary folder")
    parser.add_argument("--verbose", action="store_true", help="show every mutation and what came of it")
    options = parser.parse_args()
    ends, broken = collections.Counter(), 0
    for number in range(options.first, options.first + options.count):
        status, what, errors, failure = check(number, options.keep)
        ends[status] += 1
        if options.verbose or failure:
            lines = [line for line in errors.splitlines() if line.strip()]
            told = next((line for line in lines if line.startswith("error:")), lines[-1] if lines else "")
            print(f"{number}: {what}\n  -> {status} {told[:300]}")
        if failure:
            broken += 1
            print(f"  BROKEN: {failure}", flush=True)
    print(f"{options.count} mutations: " + ", ".join(f"{count} ended with {status}" for status, count in sorted(
        ends.items(), key=lambda item: str(item[0]))) + f"; {broken} broken")
    sys.exit(broken != 0)


if __name__ == "__main__":
    main()
