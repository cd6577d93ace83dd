r"""One operation of ggml, the engine of stable-diffusion.cpp, timed by ggml's own benchmark of operations.

A build of ggml has `bin/test-backend-ops`. It repeats an operation until it has moved 8 GB, minutes for attention; a
sixteenth of one is one run or more, and a second at least:

    sed -i 's/target_size_cpu =  8 \* GB/target_size_cpu = GB \/ 16/' ggml/tests/test-backend-ops.cpp
    cmake -S ggml -B ggml/default -DCMAKE_BUILD_TYPE=Release && cmake --build ggml/default --target test-backend-ops
    cmake -S ggml -B ggml/llamafile -DCMAKE_BUILD_TYPE=Release -DGGML_LLAMAFILE=ON && cmake --build ggml/llamafile --target test-backend-ops

The second has the faster matrix products that stable-diffusion.cpp leaves off. It runs on all processors it finds.
"""

import os
import re
import struct
import subprocess
import tempfile

TYPES = {"f32": (0, 4), "f16": (1, 2), "bf16": (30, 2)}


def operation(source, name):
    """The number of an operation in this version's list."""
    text = open(os.path.join(source, "include/ggml.h")).read()
    names = re.findall(r"^\s*GGML_OP_(\w+)", text[text.index("enum ggml_op {"):], re.M)
    return names.index(name)


def tensor(kind, *extents):
    """A source: its type, extents and strides, innermost first."""
    number, size = TYPES[kind]
    strides = [size]
    for extent in extents[:-1]:
        strides.append(strides[-1] * extent)
    return [number, *extents, *strides]


def attention(source, heads, tokens, size, kind):
    parameters = [struct.unpack("i", struct.pack("f", size ** -0.5))[0], 0, 0, 10]  # scale, bias, cap, float32 sums
    return [operation(source, "FLASH_ATTN_EXT"), 0, size, heads, tokens, 1, len(parameters), *parameters, 3,
            *tensor("f32", size, tokens, heads, 1), *tensor(kind, size, tokens, heads, 1), *tensor(kind, size, tokens, heads, 1)]


def product(source, m, n, k, kind):
    """`m` rows of `k` inputs, by `n` outputs."""
    return [operation(source, "MUL_MAT"), 0, n, m, 1, 1, 0, 2, *tensor(kind, k, n, 1, 1), *tensor("f32", k, m, 1, 1)]


def seconds(build, case):
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(" ".join(map(str, case)) + " -\n")
        file.flush()
        done = subprocess.run([os.path.join(build, "bin/test-backend-ops"), "perf", "-b", "CPU", "--test-file", file.name],
                              capture_output=True, text=True)
    found = re.search(r"([\d.]+) us/run", done.stdout)
    if not found:
        raise SystemExit(f"{build}: {done.stdout}{done.stderr}")
    return float(found[1]) / 1e6
