"""Samples clips of held-out prompts from an exported pipeline and measures how well it obeys them.

    python evaluate_video.py --pipeline ../tabletop-video --judge runs/judge-video.pt --sheet clips.png
    python evaluate_video.py --renders --judge runs/judge-video.pt                # the judge's own accuracy

Nine prompts for each of the 24 triples of shape, colour and motion that training never showed: five with a still
camera, two with a moving camera, two with a second thing. Everything runs through diffusers' own WanPipeline in
float32. Jerk is the mean absolute second difference between frames, in 1/255, next to that of the prompts' renders.
"""

import argparse
import json
import random
import re
import time

import torch

import clips
import judge_video as judging
import models
import tabletop


def scenes():
    """The scenes behind the prompts (their `caption`), always the same."""
    made = []
    for number, triple in enumerate(clips.triples()):
        for variant in range(9):
            rng = random.Random(f"prompt/{number}/{variant}")
            made.append(clips.sample_clip(rng, two=float(variant >= 7), camera=float(variant in (5, 6)), triple=triple))
    return made


def truth_of(scene):
    """What a prompt asks for; what it leaves open is None."""
    truth = tabletop.attributes(scene)
    said = lambda names, after: next((n for n in names if re.search(rf"\b{n} (?:{after})", scene.caption)), None)
    truth["floor"] = said(tabletop.FLOORS, "floor|table")
    truth["background"] = said(tabletop.BACKGROUNDS, "background|backdrop")
    truth["camera"] = truth["camera"] if "camera" in scene.caption else None
    return truth


def sample(pipeline, prompts, size, frames, steps, guidance, seed, batch=8):
    """Clips [n, f, 3, h, w] in 0...1."""
    made = []
    for i in range(0, len(prompts), batch):
        models.wait_while_paused()
        part = prompts[i:i + batch]
        generators = [torch.Generator().manual_seed(seed + i + k) for k in range(len(part))]
        made.append(pipeline(part, height=size, width=size, num_frames=frames, num_inference_steps=steps,
                             guidance_scale=guidance, generator=generators, output_type="pt").frames.cpu().float())
    return torch.cat(made)


def jerk(frames):
    return 255 * (frames[:, 2:] - 2 * frames[:, 1:-1] + frames[:, :-2]).abs().mean().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline")
    parser.add_argument("--renders", action="store_true", help="judge renders of the prompts, not a pipeline")
    parser.add_argument("--judge", required=True)
    parser.add_argument("--sheet", help="contact sheet to write: every other frame, one clip a row")
    parser.add_argument("--report", help="JSON report to write")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--frames", type=int, default=clips.FRAMES)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=1, help="only every so-manieth prompt")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    asked = scenes()[::args.every]
    prompts, truths, judge = [scene.caption for scene in asked], [truth_of(s) for s in asked], judging.load(args.judge)
    report, began = {"prompts": len(prompts), "size": args.size}, time.time()
    if args.renders:
        parts = [asked[i:i + 16] for i in range(0, len(asked), 16)]
        made = torch.cat([clips.render_clips(part, args.frames, args.size)[0] for part in parts])
    else:
        from diffusers import WanPipeline
        pipeline = WanPipeline.from_pretrained(args.pipeline, torch_dtype=torch.float32).to(args.device)
        pipeline.set_progress_bar_config(disable=True)
        made = sample(pipeline, prompts, args.size, args.frames, args.steps, args.guidance, args.seed)
        report |= {"steps": args.steps, "guidance": args.guidance,
                   "seconds_per_clip": round((time.time() - began) / len(prompts), 2)}
    seen = [entry for part in made.split(16) for entry in judge.look(part)]
    groups = {"all": lambda s: True,
              "one thing, still camera": lambda s: len(s.things) == 1 and s.camera.motion == "still",
              "moving camera": lambda s: s.camera.motion != "still", "two things": lambda s: len(s.things) == 2}
    groups |= {f"motion {m}": lambda s, m=m: s.things[0].motion == m for m in clips.MOTIONS}
    for name, keep in groups.items():
        if pairs := [(t, e) for s, t, e in zip(asked, truths, seen) if keep(s)]:
            report[name] = judging.shares(*zip(*pairs))
    report["jerk"] = round(jerk(made), 3)
    if args.sheet:
        rows = made[:: max(1, len(made) // 24)][:24]
        tabletop.save_grid(rows[:, ::2].flatten(0, 1), args.sheet, columns=len(range(0, made.shape[1], 2)))
        print("\n".join(prompts[:: max(1, len(made) // 24)][:24]))
    print("\n".join(f"{name}: {value}" for name, value in report.items()))
    if args.report:
        with open(args.report, "w") as file:
            json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
