"""Moving tabletop scenes: one thing moves (beside another, perhaps) while the camera may move too.

    python clips.py --sheet clips.png                        # look at them, one a row
    python clips.py --count 8000 --size 64 --out clips.pt    # write a data set

A clip has `FRAMES` frames. What its first thing does is one of `MOTIONS`, what the camera does one of
`CAMERAS`. An eighth of all triples of shape, colour and motion is never drawn for training (`held_out`),
though every pair of them is, so that prompts with those triples test composition. The floor has soft checks:
without them nothing would tell a moving camera from a moving thing.
"""

import argparse
import math
import random
import time

import torch

import tabletop
from tabletop import COLOURS, DEFAULT_SHAPES, Scene

FRAMES = 17
MOTIONS = ("left", "right", "bounce", "rise", "fall", "orbit", "still")
CAMERAS = ("still", "pan left", "pan right", "zoom in", "zoom out", "orbit left", "orbit right")
_MIRRORED = {"left": "right", "right": "left"}


def held_out(shape, colour, motion):
    """Whether a triple is kept from training: 24 of the 192 with a moving thing."""
    if motion == "still":
        return False
    return (DEFAULT_SHAPES.index(shape) + list(COLOURS).index(colour) + MOTIONS.index(motion)) % 8 == 3


def triples():
    """All (shape, colour, motion) kept from training."""
    return [(shape, colour, motion) for motion in MOTIONS for colour in COLOURS for shape in DEFAULT_SHAPES
            if held_out(shape, colour, motion)]


def sample_clip(rng, two=0.35, camera=0.4, triple=None, admit=False):
    """Draws a moving scene with its caption: a second thing with chance `two`, a moving camera with `camera`.

    Held-out triples are not drawn unless `admit`; one given as `triple` is what the first thing becomes.
    """
    setting = tabletop.sample_setting(rng)
    while True:
        things = [tabletop.sample_thing(rng, held_out=True) for _ in range(1 + (rng.random() < two))]
        things[0].motion = rng.choices(MOTIONS, (2, 2, 2, 2, 2, 2, 1))[0]
        if triple:
            things[0].shape, things[0].colour, things[0].motion = triple
        elif not admit and held_out(things[0].shape, things[0].colour, things[0].motion):
            continue
        relation = _place(things, rng)
        if relation is not None:
            break
    scene = Scene(things, relation=relation, checks=0.16, **setting)
    if rng.random() < camera:
        scene.camera.motion = rng.choice(CAMERAS[1:])
    scene.caption = tabletop.caption(scene, rng)
    return scene


def _place(things, rng):
    """Puts things where they are half-way through the clip; their relation, or None if they collide."""
    mover = things[0]
    if len(things) == 1:
        mover.x, mover.z = rng.uniform(-0.3, 0.3), rng.uniform(-0.4, 0.3)
        if mover.motion == "orbit":
            mover.path = (0.0, 0.0, rng.uniform(0.85, 1.0), rng.uniform(0, 2 * math.pi))
        return ""
    other = things[1]
    if mover.motion == "orbit":
        other.x, other.z = rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1)
        radius = max(1.0, mover.foot + other.foot + 0.1)
        mover.path = (other.x, other.z, radius, rng.uniform(0, 2 * math.pi))
        return "around" if radius < 1.45 else None
    sideways = mover.motion in ("left", "right")
    relation = rng.choice(("front", "behind") if sideways else ("left", "right", "front", "behind"))
    if relation in ("left", "right"):
        gap, x, z, skew = rng.uniform(1.5, 1.9), rng.uniform(-0.2, 0.2), rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.3)
        places = [(x - gap / 2, z + skew), (x + gap / 2, z - skew)]
    else:
        gap, x, z = rng.uniform(1.4, 1.8), rng.uniform(-0.3, 0.3), rng.uniform(-0.2, 0.1)
        skew = rng.choice((-1, 1)) * rng.uniform(0.1, 0.35)
        places = [(x + skew, z + gap / 2), (x - skew, z - gap / 2)]
    if relation in ("right", "behind"):
        places.reverse()
    (mover.x, mover.z), (other.x, other.z) = places
    apart = abs(mover.z - other.z) if sideways else math.hypot(mover.x - other.x, mover.z - other.z)
    return relation if apart > mover.foot + other.foot else None


def render_clips(scenes, frames=FRAMES, size=64, device="cpu", samples=2):
    """Clips [scenes, frames, 3, size, size] in 0...1, and the attributes of their things half-way through."""
    times = [frame / max(1, frames - 1) for frame in range(frames)]
    moments = [scene.at(time) for scene in scenes for time in times]
    images, ids = tabletop.render(moments, size, device, samples, with_ids=True)
    truths = [tabletop.attributes(scene, i) for scene, i in zip(scenes, ids[frames // 2::frames])]
    return images.view(len(scenes), frames, *images.shape[1:]), truths


def batch(seed, count, size, device="cpu", frames=FRAMES, admit=False):
    """A reproducible batch: (clips, captions, attributes)."""
    rng = random.Random(seed)
    scenes = [sample_clip(rng, admit=admit) for _ in range(count)]
    clips, truths = render_clips(scenes, frames, size, device)
    return clips, [scene.caption for scene in scenes], truths


def mirror(truth):
    """The attributes of a clip flipped left to right."""
    turn = lambda words: " ".join(_MIRRORED.get(word, word) for word in words.split())
    things = [thing | {"motion": turn(thing["motion"])} for thing in truth["things"]]
    for thing in things:
        if "centre" in thing:
            thing["centre"] = [1 - thing["centre"][0], thing["centre"][1]]
    return truth | {"things": things, "camera": turn(truth["camera"]), "relation": turn(truth["relation"])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", help="write a data set {clips: uint8, captions, attributes} here")
    parser.add_argument("--sheet", help="write a sheet of clips here, every other frame, one clip a row")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--held-out", action="store_true", help="admit the triples kept from training")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.sheet:
        clips, captions, _ = batch(args.seed, args.count, args.size, args.device)
        tabletop.save_grid(clips[:, ::2].flatten(0, 1), args.sheet, columns=9)
        print("\n".join(captions))
    if args.out:
        clips = torch.empty(args.count, FRAMES, 3, args.size, args.size, dtype=torch.uint8)
        captions, truths, step, began = [], [], 64, time.time()
        for i in range(0, args.count, step):
            tabletop.wait_while_paused()
            part, words, truth = batch(f"{args.seed}/{i}", min(step, args.count - i), args.size, args.device,
                                       admit=args.held_out)
            clips[i:i + len(part)] = (part * 255).round().byte().cpu()
            captions += words
            truths += truth
            if i // step % 16 == 15:
                print(f"{i + step} clips, {(i + step) / (time.time() - began):.1f} a second", flush=True)
        torch.save({"clips": clips, "captions": captions, "attributes": truths}, args.out)


if __name__ == "__main__":
    main()
