"""Pipeline folders of true size with random weights, streamed to disk: shared by the `make_*` scripts beside it.

Shapes come from diffusers' and transformers' own classes on the meta device; values are one block of normal numbers
(standard deviation 0.02; norms 1, biases 0) repeated, which is enough for time and memory and stays finite. Nothing is
held in memory but one block.
"""

import json
import os
import shutil
import struct

import numpy

BLOCK = 1 << 24


def random_block(bf16):
    values = numpy.random.default_rng(0).standard_normal(BLOCK + 4096, dtype=numpy.float32) * 0.02
    return (values.view(numpy.uint32) >> 16).astype(numpy.uint16) if bf16 else values


def write(path, tensors, bf16, block):
    """Streams one safetensors file. `tensors` is a list of (name, shape)."""
    size, header, offset = (2 if bf16 else 4), {}, 0
    for name, shape in tensors:
        count = int(numpy.prod(shape))
        header[name] = {"dtype": "BF16" if bf16 else "F32", "shape": list(shape), "data_offsets": [offset, offset + count * size]}
        offset += count * size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for index, (name, shape) in enumerate(tensors):
            count = int(numpy.prod(shape))
            if len(shape) == 1 or name.endswith("gamma"):
                one = 1.0 if name.endswith(("weight", "gamma")) else 0.0
                values = numpy.full(count, one, numpy.float32)
                file.write(((values.view(numpy.uint32) >> 16).astype(numpy.uint16) if bf16 else values).tobytes())
                continue
            shift = (index * 37) % 4096
            while count:
                part = min(count, BLOCK)
                file.write(block[shift:shift + part].tobytes())
                count -= part


def shapes(model):
    """Names and shapes of a state dict, tied copies left out."""
    seen, result = set(), []
    for name, parameter in model.named_parameters(remove_duplicate=True):
        if id(parameter) not in seen:
            seen.add(id(parameter))
            result.append((name, tuple(parameter.shape)))
    return result


def write_json(path, value):
    with open(path, "w") as file:
        file.write(json.dumps(value, indent=2) + "\n")


def write_model(folder, model):
    """A diffusers model in one file of float32."""
    os.makedirs(folder, exist_ok=True)
    write(os.path.join(folder, "diffusion_pytorch_model.safetensors"), shapes(model), False, random_block(bf16=False))
    write_json(os.path.join(folder, "config.json"),
               {"_class_name": type(model).__name__, **{k: v for k, v in model.config.items() if not k.startswith("_")}})


def write_text_encoder(folder, model, model_type):
    """A transformers encoder in bf16 shards of 2 GiB."""
    os.makedirs(folder, exist_ok=True)
    block, shards, current, size = random_block(bf16=True), [], [], 0
    for name, shape in shapes(model):
        count = 2 * int(numpy.prod(shape))
        if current and size + count > 2 << 30:
            shards.append(current)
            current, size = [], 0
        current.append((name, shape))
        size += count
    shards.append(current)
    weight_map = {}
    for index, tensors in enumerate(shards):
        file = f"model-{index + 1:05}-of-{len(shards):05}.safetensors"
        write(os.path.join(folder, file), tensors, True, block)
        weight_map.update({name: file for name, _ in tensors})
    write_json(os.path.join(folder, "model.safetensors.index.json"),
               {"metadata": {"total_size": sum(2 * int(numpy.prod(s)) for t in shards for _, s in t)}, "weight_map": weight_map})
    write_json(os.path.join(folder, "config.json"),
               {"architectures": [type(model).__name__], **model.config.to_diff_dict(), "model_type": model_type,
                "dtype": "bfloat16"})


def write_index(folder, class_name, scheduler, components, tokenizer):
    """`model_index.json`, scheduler and tokenizer."""
    os.makedirs(os.path.join(folder, "scheduler"), exist_ok=True)
    write_json(os.path.join(folder, "scheduler", "scheduler_config.json"), scheduler)
    shutil.copytree(tokenizer, os.path.join(folder, "tokenizer"), dirs_exist_ok=True)
    write_json(os.path.join(folder, "model_index.json"), {
        "_class_name": class_name, "_diffusers_version": "0.42.1",
        "scheduler": ["diffusers", scheduler["_class_name"]], **components})
    total = sum(os.path.getsize(os.path.join(f, n)) for f, _, names in os.walk(folder) for n in names)
    print(f"{total / 1e9:.2f} GB in {folder}")
