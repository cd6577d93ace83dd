"""A small detector that says what things in a tabletop clip are and what they do, to measure adherence.

    python clips.py --count 2048 --size 64 --seed j --held-out --out data/clips-j.pt
    python judge_video.py --data data/clips-j.pt data/clips-a.pt data/clips-b.pt --out runs/judge-video.pt
    python judge_video.py --data data/clips-j.pt --mean runs/judge-b.pt runs/judge-c.pt --out runs/judge-video.pt

It looks at nine frames of 64 x 64 pixels and, for each cell of a 16 x 16 map, says whether a thing is centred
there half-way through the clip and its shape, colour, size and motion; it also names floor, background and camera
motion. Trained on rendered clips only (blurred and noised a little), triples that generators are not shown among
them. It reports its accuracy on --held clips it
did not see; `evaluate_video.py --renders` adds its accuracy on renders of the prompts. Figures about a generator
cannot be more exact than that.
"""

import argparse
import random
import time

import torch
import torch.nn.functional as F
from torch import nn

import clips
import models
import tabletop
from judge import CELLS, blemish

THING = {"shape": tabletop.DEFAULT_SHAPES, "colour": tuple(tabletop.COLOURS), "size": tuple(tabletop.SIZES),
         "motion": clips.MOTIONS}
SCENE = {"floor": tuple(tabletop.FLOORS), "background": tuple(tabletop.BACKGROUNDS), "camera": clips.CAMERAS}
SHOWN = 9


def shown(frames):
    """The frames it looks at, [n, 9, 3, 64, 64], of clips [n, f, 3, h, w] in 0...1."""
    frames = frames[:, torch.linspace(0, frames.shape[1] - 1, SHOWN).round().long()]
    if frames.shape[-1] == 64:
        return frames
    return F.interpolate(frames.flatten(0, 1), (64, 64), mode="area").unflatten(0, frames.shape[:2])


class ClipJudge(nn.Module):
    def __init__(self, width=96):
        super().__init__()
        conv = lambda i, o, stride=1, gap=1: nn.Sequential(
            nn.Conv2d(i, o, 3, stride, gap, gap, bias=False), nn.BatchNorm2d(o), nn.SiLU())
        self.body = nn.Sequential(
            conv(3 * SHOWN, width // 2, 2), conv(width // 2, width, 2), conv(width, width), conv(width, width, gap=2),
            conv(width, width), conv(width, width, gap=3), conv(width, width))
        self.things = nn.Conv2d(width, 1 + sum(map(len, THING.values())), 1)
        self.scene = nn.Linear(3 * width, sum(map(len, SCENE.values())))

    def forward(self, frames):
        """`frames` as `shown` gives them."""
        x = self.body(frames.flatten(1, 2) * 2 - 1)
        pooled = torch.cat([x[:, :, :CELLS // 4].mean((2, 3)), x[:, :, -CELLS // 4:].mean((2, 3)), x.mean((2, 3))], 1)
        there, *things = self.things(x).split([1, *map(len, THING.values())], 1)
        scene = self.scene(pooled).split([*map(len, SCENE.values())], 1)
        return {"there": there[:, 0], **dict(zip(THING, things)), **dict(zip(SCENE, scene))}

    @torch.no_grad()
    def look(self, frames, least=0.4):
        """What is seen in each clip [n, f, 3, h, w]: floor, background, camera, things (the surest first)."""
        out = self.eval()(shown(frames))
        there = out["there"].sigmoid()
        peak = there * (there == F.max_pool2d(there[:, None], 3, 1, 1)[:, 0])
        seen = []
        for i in range(len(frames)):
            entry = {name: names[out[name][i].argmax()] for name, names in SCENE.items()}
            entry["things"] = [
                {name: names[out[name][i, :, row, column].argmax()] for name, names in THING.items()}
                | {"x": column, "y": row, "sure": round(peak[i, row, column].item(), 3)}
                for row, column in (peak[i] > least).nonzero().tolist()]
            entry["things"].sort(key=lambda thing: -thing["sure"])
            seen.append(entry)
        return seen


def judge_loss(judge, frames, truths, least_area=0.004):
    out, device = judge(frames), frames.device
    there = torch.zeros_like(out["there"])
    rows = [(i, min(CELLS - 1, int(t["centre"][1] * CELLS)), min(CELLS - 1, int(t["centre"][0] * CELLS)), t)
            for i, truth in enumerate(truths) for t in truth["things"] if t["area"] >= least_area]
    i, y, x = (torch.tensor(column, device=device) for column in list(zip(*rows))[:3])
    there[i, y, x] = 1
    loss = F.binary_cross_entropy_with_logits(out["there"], there, pos_weight=there.new_tensor(8.0)) * 4
    for name, names in THING.items():
        wanted = torch.tensor([names.index(row[3][name]) for row in rows], device=device)
        loss = loss + F.cross_entropy(out[name][i, :, y, x], wanted)
    for name, names in SCENE.items():
        loss = loss + F.cross_entropy(out[name], torch.tensor([names.index(t[name]) for t in truths], device=device))
    return loss


def match(truth, seen):
    """Of the moving (first) thing: whether colour, shape and motion are right; and count, floor, background, camera.

    The thing meant is the one of the right colour, then of the right shape, then the surest: never that of the
    right motion. What a caption leaves open (None) is not judged.
    """
    want = truth["things"][0]
    got = max(seen["things"], key=lambda t: 2 * (t["colour"] == want["colour"]) + (t["shape"] == want["shape"]),
              default=None)
    right = {name: int(got is not None and got[name] == want[name]) for name in ("colour", "shape", "motion")}
    right["all three"] = min(right.values())
    right["count"] = int(len(seen["things"]) == len(truth["things"]))
    for name in SCENE:
        if truth.get(name) is not None:
            right[name] = int(seen[name] == truth[name])
    return right


def shares(truths, seen):
    """{name: (share right, of how many)}."""
    sums = {}
    for truth, entry in zip(truths, seen):
        for name, value in match(truth, entry).items():
            sums.setdefault(name, []).append(value)
    return {name: (round(sum(values) / len(values), 3), len(values)) for name, values in sums.items()}


def load(path):
    judge = ClipJudge()
    judge.load_state_dict(torch.load(path, map_location="cpu"))
    return judge.eval()


def mean(paths):
    """The judge whose weights are the mean of those of others, one of which went on from another."""
    states = [load(path).state_dict() for path in paths]
    judge = ClipJudge()
    judge.load_state_dict({name: sum(state[name] for state in states) / len(states) if value.is_floating_point() else value
                           for name, value in states[0].items()})
    return judge


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, help="data sets written by clips.py")
    parser.add_argument("--out", required=True)
    parser.add_argument("--start", help="judge to go on from")
    parser.add_argument("--mean", nargs="+", help="judges of one descent: writes the mean of their weights, trains nothing")
    parser.add_argument("--steps", type=int, default=2800)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--held", type=int, default=256)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    random.seed(0)
    sets = [torch.load(path, mmap=True) for path in args.data]
    if args.mean:
        args.steps = 0
    judge = mean(args.mean) if args.mean else load(args.start).train() if args.start else ClipJudge()
    judge = judge.to(args.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(judge.parameters(), args.lr, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, max(args.steps, 1), pct_start=0.1)
    began, total = time.time(), 0.0
    for step in range(1, args.steps + 1):
        models.wait_while_paused()
        number = random.choices(range(len(sets)), [len(data["clips"]) for data in sets])[0]
        data, first = sets[number], args.held if number == 0 else 0
        pick = torch.randint(first, len(data["clips"]), (args.batch,)).tolist()
        frames = shown(torch.stack([data["clips"][i] for i in pick]).to(args.device).float() / 255)
        truths = [data["attributes"][i] for i in pick]
        if random.random() < 0.5:
            frames, truths = frames.flip(-1), [clips.mirror(truth) for truth in truths]
        frames = blemish(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        with models.autocast(args.device):
            loss = judge_loss(judge, frames, truths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item()
        if step % 100 == 0:
            rate = step * args.batch / (time.time() - began)
            print(f"step {step} loss {total / 100:.3f} {rate:.0f} clips/s", flush=True)
            total = 0.0
    judge = judge.to("cpu", memory_format=torch.contiguous_format)
    torch.save(judge.state_dict(), args.out)
    held, truths = sets[0]["clips"][:args.held], sets[0]["attributes"][:args.held]
    seen = [entry for part in held.split(32) for entry in judge.look(part.float() / 255)]
    print("held-out renders:", shares(truths, seen))


if __name__ == "__main__":
    main()
