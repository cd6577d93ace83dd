"""What the fixture scripts share: deterministic files, lively random weights, a check against dull outputs.

`write` lays a safetensors file out by hand, because the library's own writer shuffles the metadata: with it,
the same script would give different bytes every time.
"""

import json
import math
import sys

import torch

sys.dont_write_bytecode = True

_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8"}


# Parts that would hardly show at the plain spread: attention's choice of keys, text, time, size and class.
_LOUDER = [("attn2.to_q", 3), ("attn2.to_k", 3), (".to_q", 2), (".to_k", 2), ("attn2.to_out", 2),
           ("adaln_single.linear", 1.5), ("norm1.linear", 1.5), ("_embedder.linear", 1.5)]


def write(path, tensors, metadata):
    """Writes `tensors` (name -> tensor) to `path`, names sorted, metadata sorted, header padded to 8 bytes."""
    header, offset, chunks = {"__metadata__": {k: metadata[k] for k in sorted(metadata)}}, 0, []
    for name in sorted(tensors, key=lambda n: (-tensors[n].element_size(), n)):
        t = tensors[name].detach().contiguous()
        raw = t.reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""
        header[name] = {"dtype": _NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
        chunks.append(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        f.writelines(chunks)


def versions():
    """The versions that made the file, as JSON."""
    import diffusers
    import numpy
    import transformers

    return json.dumps({
        "python": sys.version.split()[0],
        "torch": torch.__version__.split("+")[0],
        "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
    })


def enliven(module, seed, matrix=1.5, bias=0.05):
    """Scales matrices and convolutions by `matrix`, draws biases, norms and modulation tables at random."""
    g = torch.Generator().manual_seed(seed)

    def normal(p, mean, std):
        p.copy_(mean + std * torch.randn(p.shape, generator=g))

    with torch.no_grad():
        for name, p in module.named_parameters():
            if name.endswith("scale_shift_table"):
                normal(p, 0, 0.5)
            elif "embedding_table" in name:
                normal(p, 0, 1)
            elif p.dim() >= 2 and (louder := [f for part, f in _LOUDER if part in name]):
                normal(p, 0, louder[0] * matrix / math.sqrt(3 * p[0].numel()))
            elif p.dim() >= 2:
                normal(p, 0, matrix / math.sqrt(3 * p[0].numel()))  # torch's default spread, times `matrix`
            elif name.endswith("weight"):  # a norm's gain
                normal(p, 1, 0.25)
            else:
                normal(p, 0, bias)
    return module.eval().requires_grad_(False)


def weights(module):
    return {"weights." + k: v for k, v in module.state_dict().items()}


def check(path, tensors, low=0.05, high=20.0):
    """Refuses dull outputs: every float output must be finite, with a spread between `low` and `high`."""
    for name, t in tensors.items():
        if name.startswith("output.") and t.is_floating_point():
            std = t.std().item()
            if not torch.isfinite(t).all() or not low <= std <= high:
                raise SystemExit(f"{path.name}: {name} has std {std}")
            print(f"  {name:<40} {str(list(t.shape)):<20} std {std:.3f}")
    print(f"{path.name}: {path.stat().st_size} bytes")
