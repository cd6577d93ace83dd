"""Writes draft.json: which pairs of regions DraftAttention keeps, from its definition (arXiv:2505.14708) in PyTorch.

    python make_draft_fixtures.py

Made with torch 2.15.0 and numpy (Python 3.11). Inputs are not stored: value i of a tensor is a hash of i and a seed, so
that the test makes the same ones. Regions are torch's avg_pool2d with ceil_mode, whose windows at the border average
what is there. A row that loses everything keeps its largest entry, which is our rule.
"""

import json
import math
import pathlib

import numpy as np
import torch

# name, (frames, height, width, prefix, suffix), pool, heads, size, sparsities, key grid (row step, column step, h, w)
CASES = [
    ("ragged video with text", (2, 12, 20, 3, 2), (4, 8), 2, 8, (0, 0.5, 0.75, 0.95), None),
    ("published pool on an image", (1, 20, 40, 0, 0), (8, 16), 2, 8, (0.3, 0.75), None),
    ("shortened keys", (2, 12, 20, 3, 2), (4, 8), 2, 8, (0.75,), (2, 2, 6, 10)),
    ("regions without a key", (1, 6, 10, 0, 1), (1, 4), 2, 8, (0.5, 0.9), (2, 2, 3, 5)),
    ("one region", (1, 4, 4, 0, 2), (8, 16), 1, 8, (0.75,), None),
]


def values(count, seed):
    """splitmix64 of the index, as Float32 in -2 ... 2."""
    with np.errstate(over="ignore"):
        z = np.arange(count, dtype=np.uint64) + np.uint64(seed) * np.uint64(1 << 32)
        z = (z + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return torch.from_numpy((z >> np.uint64(40)).astype(np.float64) / 2**24 * 4 - 2)


def pooled(x, layout, pool):
    """[h, visual tokens, d] -> [h, regions, d]."""
    frames, height, width, _, _ = layout
    heads, _, size = x.shape
    x = x.reshape(heads, frames, height, width, size).permute(0, 1, 4, 2, 3).flatten(0, 1)
    x = torch.nn.functional.avg_pool2d(x, pool, pool, ceil_mode=True)
    return x.unflatten(0, (heads, frames)).permute(0, 1, 3, 4, 2).reshape(heads, -1, size)


def pooled_keys(k, layout, pool, grid):
    """The same over shortened keys: means over the keys whose token lies in the region, empty regions left out."""
    frames, height, width, _, _ = layout
    row_step, column_step, grid_height, grid_width = grid
    across = math.ceil(width / pool[1])
    down = math.ceil(height / pool[0])
    members = {}
    for index in range(frames * grid_height * grid_width):
        frame, place = divmod(index, grid_height * grid_width)
        row, column = divmod(place, grid_width)
        region = (frame * down + row * row_step // pool[0]) * across + column * column_step // pool[1]
        members.setdefault(region, []).append(index)
    return torch.stack([k[:, members[r]].mean(1) for r in sorted(members)], 1)


def kept(q, k, sparsity):
    a = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[2]), -1)
    count = a[0].numel()
    cut = int(sparsity * count)
    result = []
    for head in a:
        if cut == 0:
            keep = torch.ones_like(head, dtype=torch.bool)
        else:
            ordered = head.flatten().sort().values
            gap = (ordered[cut - 1] - ordered[cut - 2]).item() if cut > 1 else 1
            after = (ordered[cut] - ordered[cut - 1]).item() if cut < count else 1
            if min(gap, after) < 1e-5 * ordered[cut - 1]:
                raise SystemExit("entries too close to the threshold to be told apart in Float32")
            keep = head >= ordered[cut - 1]
            assert keep.sum() == count - cut + 1
        for row in range(keep.shape[0]):
            if not keep[row].any():
                keep[row, head[row].argmax()] = True
        result.append(["".join("1" if x else "0" for x in row) for row in keep.tolist()])
    return result


def main():
    out, forced = [], False
    for name, layout, pool, heads, size, sparsities, grid in CASES:
        frames, height, width, prefix, suffix = layout
        visual = frames * height * width
        tokens = visual + prefix + suffix
        keys = prefix + (frames * grid[2] * grid[3] if grid else visual) + suffix
        q = values(heads * tokens * size, 1).reshape(heads, tokens, size)
        k = values(heads * keys * size, 2).reshape(heads, keys, size)
        q_means = pooled(q[:, prefix:tokens - suffix], layout, pool)
        visual_keys = k[:, prefix:keys - suffix]
        k_means = pooled_keys(visual_keys, layout, pool, grid) if grid else pooled(visual_keys, layout, pool)
        for sparsity in sparsities:
            maps = kept(q_means, k_means, sparsity)
            count = q_means.shape[1] * k_means.shape[1]
            expected = count - max(int(sparsity * count), 1) + 1
            forced |= any(sum(row.count("1") for row in head) > expected for head in maps)
            out.append({"name": name, "layout": layout, "pool": pool, "heads": heads, "size": size,
                        "sparsity": sparsity, "keyGrid": grid, "kept": maps})
    assert forced, "no case empties a row"
    text = json.dumps(out, separators=(",", ":")).replace('{"name"', '\n{"name"')
    (pathlib.Path(__file__).parent / "draft.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
