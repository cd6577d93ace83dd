"""Writes a spec for `sweep-attention run`: held-out prompts, what they promise, and the methods to compare.

    python make_sweep_spec.py --pipeline ../tabletop-image --prompts 48 --seeds 0-1 --out spec.json

The prompts are those of `evaluate.py --held-out` or, of a pipeline that makes clips, of `evaluate_video.py`, in an order
that mixes their kinds: all name a combination that training never showed. More prompts begin with the same ones. Where
the transformer's configuration has key/value compression, dense attention without it joins the methods. `paro` needs
tables made with `sweep-attention calibrate`, and is left out with a note where the pipeline's folder has none.
"""

import argparse
import glob
import json
import os
import sys

DENSITIES = [0.5, 0.3, 0.2, 0.1]


def said(entry, names):
    return {name: entry[name] for name in names if entry.get(name)}


def image_prompts(count):
    import evaluate

    made = []
    for scene in evaluate.held_out_scenes(count):
        truth = evaluate.parse(scene.caption)
        expect = {"things": [said(thing, ("shape", "colour", "size")) for thing in truth["things"]]}
        expect |= said(truth, ("floor", "background"))
        if truth["relation"]:
            expect["arrangement"] = truth["relation"]
        made.append({"prompt": scene.caption, "expect": expect})
    return made


def clip_prompts(count):
    import clips
    import evaluate_video

    made = []
    scenes, triples = evaluate_video.scenes(), len(clips.triples())
    variants = len(scenes) // triples
    if count > len(scenes):
        raise SystemExit(f"--prompts: expected at most {len(scenes)}, found {count}")
    # One of every triple, then a second: still and moving cameras, one and two things in turn.
    order = [triple * variants + (turn + triple) % variants for turn in range(variants) for triple in range(triples)]
    for scene in (scenes[number] for number in order[:count]):
        truth = evaluate_video.truth_of(scene)
        # Only the first thing is judged, by shape, colour and motion.
        expect = {"things": [said(thing, ("shape", "colour", "motion")) for thing in truth["things"]]}
        made.append({"prompt": scene.caption, "expect": expect | said(truth, ("floor", "background", "camera"))})
    return made


def read(*parts):
    with open(os.path.join(*parts)) as file:
        return json.load(file)


def methods(pipeline, dense, compressions):
    """The names with default options, what the pipeline's folder allows beside them, and training-free compressions."""
    made = ["sliding-tile", "radial", "draft"]
    if glob.glob(os.path.join(pipeline, "attention", "paro-*.json")):
        made.append("paro")
    else:
        print(f"paro left out: no tables in {pipeline}/attention (sweep-attention calibrate)", file=sys.stderr)
    config = read(pipeline, "transformer", "config.json")
    if config.get("kv_compress_config"):
        # The reference keeps the checkpoint's compression; without it the model is another one.
        made.append({"attention": "dense", "family": "kv-compression off", "kv_compression": "none"})
    made = [{"attention": method} | dense if isinstance(method, str) and dense else method for method in made]
    for compression in compressions:
        made.append({"attention": "dense", "family": f"kv {compression.split(':')[0]}", "kv_compression": compression})
    return made


def written(spec):
    """JSON with a line for each key, method and prompt."""
    def value(name, held):
        if name in ("methods", "prompts"):
            return "[\n  " + ",\n  ".join(map(json.dumps, held)) + "\n ]"
        return json.dumps(held)
    return "{\n " + ",\n ".join(f'"{name}": {value(name, held)}' for name, held in spec.items()) + "\n}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--seeds", default="0-1")
    parser.add_argument("--steps", type=int, help="instead of the pipeline's own")
    parser.add_argument("--size", help="pixels such as 256x256, instead of the pipeline's own")
    parser.add_argument("--judge", help="instead of the pipeline's own judge.safetensors; as the spec will name it")
    parser.add_argument("--recall-prompts", type=int, default=0, help="prompts to measure attention's loss on")
    parser.add_argument("--dense-steps", type=int, help="of every method, instead of its own")
    parser.add_argument("--dense-layers", type=int, help="of every method, instead of its own")
    parser.add_argument("--kv-compression", nargs="*", default=[], help="to compare as well, such as average:ratio=2")
    args = parser.parse_args()
    if args.prompts < 1:
        parser.error("--prompts: expected at least 1")
    is_clip = read(args.pipeline, "model_index.json")["_class_name"] == "WanPipeline"
    sampling = {name: value for name, value in (("steps", args.steps), ("size", args.size)) if value}
    dense = {name: [value] for name, value in (("dense_steps", args.dense_steps), ("dense_layers", args.dense_layers))
             if value is not None}
    spec = {
        "pipeline": args.pipeline,
        "seeds": args.seeds,
        "sampling": sampling,
        "densities": DENSITIES,
        "methods": methods(args.pipeline, dense, args.kv_compression),
        "random_baseline": True,
        "controls": True,
        "prompts": (clip_prompts if is_clip else image_prompts)(args.prompts),
    }
    if args.judge:
        spec["judge"] = args.judge
    if args.recall_prompts:
        spec["recall"] = {"prompts": args.recall_prompts, "queries": 64}
    with open(args.out, "w") as file:
        file.write(written(spec))
    print(f"{args.out}: {args.prompts} prompts", file=sys.stderr)


if __name__ == "__main__":
    main()
