"""Writes judge_{image,clip}.safetensors, two tiny judges of random weights as `export_judge.py` writes them, and
judge_{image,clip}_golden.safetensors: pictures, what the Python judges make of them, and how that is scored.

    python make_judge_fixtures.py

Made with torch 2.15.0 (Python 3.11, x86-64). Judges, scores and renders are those of `pipelines/training`.
"""

import json
import math
import pathlib
import random
import sys

import torch

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE.parents[1]), str(HERE.parents[2] / "pipelines/training")]
import clips  # noqa: E402
import evaluate  # noqa: E402
import export_judge  # noqa: E402
import golden  # noqa: E402
import judge  # noqa: E402
import judge_video  # noqa: E402
import tabletop  # noqa: E402


def lively(made, seed):
    """Random weights whose answers differ from picture to picture and from place to place."""
    golden.enliven(made, seed, matrix=3, bias=0.3)
    g = torch.Generator().manual_seed(seed)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(0.2 * torch.randn(module.num_features, generator=g))
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=g))
    made.things.weight *= 2
    made.things.bias[0] = -1
    made.scene.weight *= 3
    return made


def clouds(seed, *shape):
    """Coarse random colours, [..., 3, h, w] of 8 bits."""
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(*shape[:-2], math.ceil(shape[-2] / 8), math.ceil(shape[-1] / 8), generator=g)
    fine = coarse.repeat_interleave(8, -2).repeat_interleave(8, -1)[..., :shape[-2], :shape[-1]]
    return ((0.8 * fine + 0.2 * torch.rand(*shape, generator=g)) * 255).round().byte()


def truths(rng, entry, things, scene, motions):
    """Expectations near what was seen: right in part, with things too many, too few and unsaid."""
    for number in range(6):
        wanted = []
        for thing in rng.sample(entry["things"], min(len(entry["things"]), rng.choice((1, 2, 3)))):
            one = {name: thing[name] if rng.random() < 0.6 else rng.choice(names) for name, names in things.items()}
            wanted.append(one)
        while not wanted or (number == 5 and len(wanted) < 3):
            wanted.append({name: rng.choice(names) for name, names in things.items()})
        for one in wanted:
            if rng.random() < 0.3:
                one["size"] = None
        truth = {name: rng.choice((None, entry[name], rng.choice(names))) for name, names in scene.items()}
        relations = ["", "left", "right", "front", "behind"] if len(wanted) > 1 else [""]
        relations += ["between", "row"] if len(wanted) > 2 else []
        yield truth | {"things": wanted, "relation": "" if motions else rng.choice(relations)}


def image_counts(truth, entry):
    right = judge.match(truth, entry)
    wanted = right.pop("wanted")
    counts = {name: [value, 1 if name == "count" else wanted] for name, value in right.items()}
    counts |= {name: [int(truth[name] == entry[name]), 1] for name in ("floor", "background") if truth[name]}
    place = evaluate.arranged(truth, entry)
    return counts | ({} if place is None else {"arrangement": [int(place), 1]})


def clip_counts(truth, entry):
    return {name: [value, 1] for name, value in judge_video.match(truth, entry).items()}


def expectation(truth):
    """The truth as a sweep's spec has it."""
    said = lambda entry: {name: value for name, value in entry.items() if value}
    made = said({name: value for name, value in truth.items() if name not in ("things", "relation")})
    made["things"] = [said(thing) for thing in truth["things"]]
    return made | ({"arrangement": truth["relation"]} if truth["relation"] else {})


def write(name, made, pictures, look, logits, things, scene, counts, motions):
    export_judge.export(made, HERE / f"{name}.safetensors")
    made = export_judge.rounded(made)
    rng, tensors, cases = random.Random(name), {}, []
    for number, picture in enumerate(pictures):
        part = picture[None].float() / 255
        with torch.no_grad():
            out = logits(made, part)
        entry = look(made, part)
        tensors[f"input.{number}"] = picture
        tensors[f"output.{number}.map"] = torch.cat([
            out[k].reshape(1, -1, 16, 16) for k in ("there", *things)], 1)[0].permute(1, 2, 0)
        tensors[f"output.{number}.scene"] = torch.cat([out[k] for k in scene], 1)[0]
        scored = [{"expected": expectation(truth), "counts": counts(truth, entry)}
                  for truth in truths(rng, entry, things, scene, motions)]
        cases.append({"seen": entry, "scored": scored})
        print(f"{name} {number}: {len(entry['things'])} things, {[entry[k] for k in scene]}")
    path = HERE / f"{name}_golden.safetensors"
    golden.write(path, tensors, {"versions": golden.versions(), "cases": json.dumps(cases)})
    golden.check(path, tensors, low=0.05, high=60)


def main():
    torch.set_num_threads(1)
    renders, _, _ = tabletop.batch("judge", 2, 96)
    small, _, _ = tabletop.batch("judge", 1, 64)
    pictures = [(image * 255).round().byte() for image in (*renders, *small)]
    pictures += [clouds(1, 3, 50, 82), clouds(2, 3, 40, 40)]
    write("judge_image", lively(judge.Judge(width=8), 3), pictures,
          lambda made, part: made.look(part)[0], lambda made, part: made(part),
          {name: judge.NAMES[name] for name in ("shape", "colour", "size")},
          {name: judge.NAMES[name] for name in ("floor", "background")}, image_counts, False)
    rendered, _, _ = clips.batch("judge", 1, 48, frames=9)
    films = [(rendered[0] * 255).round().byte(), clouds(3, 6, 3, 30, 44), clouds(4, 12, 3, 24, 24)]
    write("judge_clip", lively(judge_video.ClipJudge(width=8), 5), films,
          lambda made, part: made.look(part)[0], lambda made, part: made(judge_video.shown(part)),
          judge_video.THING, judge_video.SCENE, clip_counts, True)


if __name__ == "__main__":
    main()
