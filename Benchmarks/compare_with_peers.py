"""Tessera against its peers on the same shapes, alternately, in one sitting: medians, spreads and ratios.

    swift build -c release
    python Benchmarks/compare_with_peers.py attention attention-72 sparse --rounds 5
    python Benchmarks/compare_with_peers.py pixart --folder DIR --rounds 5      # DIR by make_pixart_sigma_xl.py

Rows: attention (12 heads x 8,192 x 128), attention-72 (16 x 4,096 x 72), sparse (12 x 8,192 x 128 at a quarter of the
blocks), pixart (the transformer at 1024 px, 300 text tokens), wan (the transformer at latent 5 x 60 x 104), wan-block
(one layer at 21 x 60 x 104), vae (SDXL's decoder at 512 px), wan-vae (Wan's, 5 frames of 416 x 240) and t5 (300 tokens).
These six take one --folder each. PEER_PYTHON names a Python with the peers (see peers.py). Against ggml (see ggml.py):
ggml-attention (12 heads x 4,096 x 128), ggml-attention-72 (16 x 4,096 x 72) and ggml-linear (4,096 x 1,536 x 1,536), with
--ggml SOURCE DEFAULT_BUILD BEST_BUILD. Nothing else may run meanwhile.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

import ggml

HERE = os.path.dirname(os.path.abspath(__file__))
os.environ["TESSERA_CACHE"] = "off"  # the text encoder is part of what is timed


class Peers:
    """The process that holds the peers."""

    def __init__(self, threads):
        self.process = subprocess.Popen(
            [os.environ.get("PEER_PYTHON", sys.executable), os.path.join(HERE, "peers.py"), "--threads", str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, stderr=open(os.path.join(tempfile.gettempdir(), "peers.log"), "w"))

    def ask(self, question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the peers ended at {question}: see peers.log in {tempfile.gettempdir()}")
        return json.loads(answer).get("seconds")


def kernel(args, heads, tokens, size, dtype, density=None):
    """Seconds of one attention call in Tessera, the median of three."""
    command = [os.path.join(args.build, "kernel-bench"), "attention", "--heads", str(heads), "--tokens", str(tokens),
               "--head-dim", str(size), "--dtype", dtype, "--json", "--repeats", "3", "-t", str(args.threads)]
    if density:
        command += ["--density", str(density), "--pattern", "random"]
    line = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0])
    return line["seconds_median"]


def generate(args, kind, size, dtype, words, *more):
    """The seconds of each phase of a run of Tessera without guidance; of the last, if it draws several."""
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "x.png" if kind == "image" else "%04d.png")
        command = [os.path.join(args.build, f"generate-{kind}"), "-m", args.folder, "-p", "word " * words, "--size", size,
                   "--resolution-binning", "off", "--steps", str(args.steps), "--guidance-scale", "1", "--seed", "0", "--dtype", dtype, "-t",
                   str(args.threads), "-q", "--json", "-o", output, "--max-sequence-length",
                   "300" if kind == "image" else "512", *more]
        if kind == "video":
            command += ["--frames", str(args.frames)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
        return json.loads(done.stdout.splitlines()[-1])["record"]["seconds"]


def step(args, kind, size, dtype, attention, words):
    """Seconds of one forward pass of the transformer in Tessera."""
    more = [] if attention == "dense" else ["--dense-steps", "0", "--dense-layers", "0"]
    return generate(args, kind, size, dtype, words, "--attention", attention, *more)["denoise"] / args.steps


def attention_row(heads, tokens, size, density=None):
    shape = dict(op="attention", heads=heads, tokens=tokens, size=size)

    def contestants(args, peers):
        found = {}
        if density:
            for dtype in ("float32", "bfloat16", "int8"):
                found[f"Tessera {dtype} at {density}"] = lambda d=dtype: kernel(args, heads, tokens, size, d, density)
            for dtype in ("float32", "bfloat16"):
                found[f"flex {dtype} at {density}"] = lambda d=dtype: peers.ask(
                    dict(shape, engine="flex", dtype=d, density=density))
        else:
            for dtype in ("float32", "bfloat16", "int8"):
                found[f"Tessera {dtype}"] = lambda d=dtype: kernel(args, heads, tokens, size, d)
        for engine in ("torch", "openvino"):
            for dtype in ("float32", "bfloat16"):
                found[f"{engine} {dtype}"] = lambda e=engine, d=dtype: peers.ask(dict(shape, engine=e, dtype=d))
        return found

    return contestants


def ggml_row(tessera, case, kinds):
    def contestants(args, peers):
        source, *builds = args.ggml
        found = {f"Tessera {dtype}": lambda d=dtype: tessera(args, d) for dtype in ("float32", "bfloat16", "int8")}
        for build in builds:
            for kind in kinds:
                found[f"ggml {os.path.basename(os.path.normpath(build))} {kind}"] = lambda b=build, k=kind: ggml.seconds(b, case(source, k))
        return found

    return contestants


def linear(args, m, n, k, dtype):
    """Seconds of one linear layer in Tessera, the median of five."""
    command = [os.path.join(args.build, "kernel-bench"), "linear", "--m", str(m), "--n", str(n), "--k", str(k), "--dtype", dtype,
               "--json", "-t", str(args.threads)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0])["seconds_median"]


def transformer_row(op, kind, size, shape, text, methods):
    def contestants(args, peers):
        question = dict(op=op, folder=args.folder, shape=shape, text=text, cache=os.path.join(args.folder, "openvino"))
        found = {}
        for dtype, attention, name in methods:
            found[f"Tessera {dtype} {name}"] = lambda d=dtype, a=attention: step(args, kind, size, d, a, text)
        for engine, dtype in args.peers:
            found[f"{engine} {dtype}"] = lambda e=engine, d=dtype: peers.ask(dict(question, engine=e, dtype=d))
        return found

    return contestants


def part_row(op, kind, size, question, phase, words, *more):
    """Autoencoders and text encoders: what one phase of a run takes, weights in memory or in the page cache."""

    def contestants(args, peers):
        asked = dict(question, op=op, engine="torch", folder=args.folder)
        found = {f"Tessera {dtype}": lambda d=dtype: generate(args, kind, size, d, words, *more)[phase]
                 for dtype in ("bfloat16", "float32")}
        found.update({f"diffusers {dtype}": lambda d=dtype: peers.ask(dict(asked, dtype=d))
                      for dtype in (("bfloat16", "float32") if op == "decode" else ("bfloat16",))})
        return found

    return contestants


DENSE = [("bfloat16", "dense", "dense"), ("int8", "dense", "dense")]
ROWS = {
    "attention": attention_row(12, 8192, 128), "attention-72": attention_row(16, 4096, 72),
    "sparse": attention_row(12, 8192, 128, 0.25),
    "pixart": transformer_row("pixart", "image", "1024x1024", [128, 128], 300, DENSE + [
        ("bfloat16", "sliding-tile:tile=1x16x8,window=1x3x3", "sliding-tile .28"),
        ("int8", "sliding-tile:tile=1x16x8,window=1x3x3", "sliding-tile .28")]),
    "wan": transformer_row("wan", "video", "832x480", [5, 60, 104], 512, DENSE + [
        ("int8", "sliding-tile:tile=5x5x4,window=1x3x7", "sliding-tile .27")]),
    "wan-block": transformer_row("wan", "video", "832x480", [21, 60, 104], 512, DENSE + [
        ("int8", "sliding-tile:tile=4x4x4,window=5x5x5", "sliding-tile .22")]),
    # The second of two seeds: the decoder is in memory then, as the peer's is.
    "vae": part_row("decode", "image", "512x512", {"class": "AutoencoderKL", "shape": [1, 4, 64, 64]}, "decode", 1,
                    "--batch-count", "2"),
    "wan-vae": part_row("decode", "video", "416x240", {"class": "AutoencoderKLWan", "shape": [1, 16, 2, 30, 52]}, "decode", 1,
                        "--batch-count", "2"),
    "ggml-attention": ggml_row(lambda args, dtype: kernel(args, 12, 4096, 128, dtype),
                               lambda source, kind: ggml.attention(source, 12, 4096, 128, kind), ("f32", "f16")),
    "ggml-attention-72": ggml_row(lambda args, dtype: kernel(args, 16, 4096, 72, dtype),
                                  lambda source, kind: ggml.attention(source, 16, 4096, 72, kind), ("f32", "f16")),
    "ggml-linear": ggml_row(lambda args, dtype: linear(args, 4096, 1536, 1536, dtype),
                            lambda source, kind: ggml.product(source, 4096, 1536, 1536, kind), ("f32", "f16", "bf16")),
    "t5": part_row("text", "image", "64x64", {"tokens": 300}, "text", 300),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="+", choices=ROWS)
    parser.add_argument("--folder", help="pipeline folder with random weights of true size")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="forward passes of a Tessera run")
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--build", default=os.path.join(HERE, "../.build/release"))
    parser.add_argument("--peers", nargs="*", default=["torch:bfloat16", "openvino:bfloat16", "openvino:int8"],
                        help="engine:dtype, for transformers")
    parser.add_argument("--ggml", nargs="+", help="ggml's source folder, then builds of it")
    parser.add_argument("--report", help="JSON file to write, after every round")
    args = parser.parse_args()
    args.peers = [tuple(peer.split(":")) for peer in args.peers]
    peers, report = None if all(row.startswith("ggml") for row in args.rows) else Peers(args.threads), {}
    for row in args.rows:
        contestants, seconds = ROWS[row](args, peers), {}
        for round_number in range(args.rounds + 1):
            for name, run in contestants.items():
                took = run()
                if round_number:  # the first warms up
                    seconds.setdefault(name, []).append(took)
            print(f"{row}: round {round_number} of {args.rounds}", file=sys.stderr, flush=True)
            report[row] = seconds
            if args.report:
                with open(args.report, "w") as file:
                    json.dump(report, file, indent=1)
        if peers:
            peers.ask({"forget": True})
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        rivals = [name for name in medians if not name.startswith("Tessera")]
        print(f"\n{row}\n| | seconds | " + " | ".join(f"x {name}" for name in rivals) + " |\n|---|---|" + "--:|" * len(rivals))
        for name, median in medians.items():
            cells = [f"{medians[rival] / median:.2f}" for rival in rivals]
            print(f"| {name} | {median:.3f} ({min(seconds[name]):.3f} - {max(seconds[name]):.3f}) | " + " | ".join(cells) + " |")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
