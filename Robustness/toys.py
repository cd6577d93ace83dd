"""Small pipelines, how to run the programs on them, and what must hold after every run."""

import json
import os
import pathlib
import resource
import signal
import struct
import subprocess
import zlib

# Every run encodes its own text: what is checked must not come from an earlier one.
os.environ["TESSERA_CACHE"] = "off"
ROOT = pathlib.Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "Tests" / "PipelineTests" / "Fixtures"

# Name: folder, program, flags that make its runs short, extension of what it makes.
PIPELINES = {
    "pixart-sigma": (FIXTURES / "toy-pixart-sigma", "generate-image",
                     ["--size", "64x64", "--resolution-binning", "off", "--prompt", "a red ball"], ".png"),
    "pixart-alpha": (FIXTURES / "toy-pixart-alpha", "generate-image",
                     ["--size", "64x64", "--resolution-binning", "off", "--prompt", "a red ball"], ".png"),
    "dit": (FIXTURES / "toy-dit", "generate-image", ["--class-label", "1"], ".png"),
    "tabletop": (ROOT / "pipelines" / "tabletop-image", "generate-image", ["--prompt", "a red ball"], ".png"),
    "wan": (FIXTURES / "toy-wan", "generate-video",
            ["--size", "32x32", "--frames", "5", "--prompt", "a red ball"], ".mp4"),
    "wan-experts": (FIXTURES / "toy-wan-experts", "generate-video",
                    ["--size", "32x32", "--frames", "5", "--prompt", "a red ball"], ".mp4"),
    "wan-ti2v": (FIXTURES / "toy-wan-ti2v", "generate-video",
                 ["--size", "32x32", "--frames", "5", "--prompt", "a red ball"], ".mp4"),
}

# The exit codes that the programs document, without 70: a mistake of their own.
EXIT_CODES = {0, 1, 64, 65, 66, 69, 71, 73, 74, 130}


class Broken(Exception):
    """What a run must never do."""


def program(name):
    """The path of a built program; TESSERA_PROGRAMS is their folder where it is another."""
    return str(pathlib.Path(os.environ.get("TESSERA_PROGRAMS", ROOT / ".build" / "release")) / name)


def run(arguments, seconds=20, memory=8 << 30, environment=None):
    """Runs a program under limits: its exit status (negative for a signal, None for too long), stdout, stderr."""

    def limit():
        if memory:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    # A trap is told by its signal: the runtime's backtraces would take seconds each.
    variables = dict(os.environ, SWIFT_BACKTRACE="enable=no", **(environment or {}))
    with subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          preexec_fn=limit, env=variables) as process:
        try:
            output, errors = process.communicate(timeout=seconds)
            status = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
            status = None
    return status, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace")


def signal_name(status):
    return signal.Signals(-status).name


def check_end(status, errors, allowed=EXIT_CODES):
    """A run ends in time, with a documented code, and says in one line why it failed."""
    if status is None:
        raise Broken("runs on past its time limit")
    if status < 0:
        raise Broken(f"ends by {signal_name(status)}")
    if status not in allowed:
        raise Broken(f"exit code {status}")
    lines = [line for line in errors.splitlines() if line.startswith("error:")]
    if status == 0 and lines:
        raise Broken("success, but with an error line")
    if status not in (0, 130) and len(lines) != 1:
        raise Broken(f"exit code {status} with {len(lines)} error lines")


def check_png(path):
    """A PNG file is whole: chunks with sums, as many bytes of picture as its size says."""
    data = path.read_bytes()
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise Broken(f"{path.name} is no PNG file")
    at, pixels, size = 8, b"", None
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0] != zlib.crc32(kind + body):
            raise Broken(f"{path.name} has a broken chunk {kind}")
        if kind == b"IHDR":
            size = struct.unpack(">II", body[:8])
        if kind == b"IDAT":
            pixels += body
        at += 12 + length
    if kind != b"IEND" or len(zlib.decompress(pixels)) != size[1] * (1 + 3 * size[0]):
        raise Broken(f"{path.name} is not whole")


def check_mp4(path):
    """An MP4 file is whole: its boxes fill it, with index and data."""
    data, at, kinds = path.read_bytes(), 0, set()
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        if length < 8 or at + length > len(data):
            raise Broken(f"{path.name} has a broken box {kind}")
        kinds.add(kind)
        at += length
    if not {b"ftyp", b"moov", b"mdat"} <= kinds:
        raise Broken(f"{path.name} lacks parts: {kinds}")


def check_whole(path):
    """Nothing half written lies at a final name."""
    {".png": check_png, ".mp4": check_mp4}.get(path.suffix, lambda path: None)(path)
    if path.suffix == ".json":
        json.loads(path.read_bytes())
    if path.suffix == ".safetensors":
        data = path.read_bytes()
        length = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8:8 + length])
        end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        if 8 + length + end != len(data):
            raise Broken(f"{path.name} is not whole")


def files(folder):
    """Files below a folder, hidden drafts too."""
    return sorted(path for path in pathlib.Path(folder).rglob("*") if path.is_file())


def is_draft(path):
    """Whether a file is one that a killed process was writing: hidden, and under no final name."""
    return path.name.startswith(".") and path.name.endswith(".tmp")
