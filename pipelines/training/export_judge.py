"""Turns a trained judge into one small safetensors file, for sweeps to measure prompt adherence with.

    python export_judge.py --judge runs/judge.pt       --out ../tabletop-image/judge.safetensors
    python export_judge.py --judge runs/judge-video.pt --out ../tabletop-video/judge.safetensors

Which of the two it is, the state dict shows by its shapes. Batch norms are folded into the convolutions before them;
weights are stored as float16. Tensors are `body.N.{weight,bias}` (convolutions of 3 x 3 in order, SiLU after each),
`things.{weight,bias}` (for every cell of the map: whether a thing is there, then its attributes) and
`scene.{weight,bias}` (over pooled features). Metadata, lists with commas between:

    kind           image or clip
    frames, side   frames looked at, and their height and width in pixels
    strides, dilations   of the convolutions
    pooling        what the scene is told from: means over the top and bottom quarter of the map's rows, and over all
    things, scene  attributes in the order of the outputs; each attribute's own key lists its names
    least          how sure a thing must be to count

`--check DATA` says how often the file's answers differ from the judge's own over a data set.
"""

import argparse
import copy
import json

import torch

import judge as images
import judge_video as clips


def folded(convolution, norm):
    """Weight and bias of the convolution with the batch norm after it."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return convolution.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


def tensors(judge):
    """Name to float32 tensor, norms folded."""
    made = {}
    for index, block in enumerate(judge.body):
        made[f"body.{index}.weight"], made[f"body.{index}.bias"] = folded(block[0], block[1])
    made["things.weight"], made["things.bias"] = judge.things.weight[:, :, 0, 0], judge.things.bias
    made["scene.weight"], made["scene.bias"] = judge.scene.weight, judge.scene.bias
    return {name: tensor.detach().contiguous() for name, tensor in made.items()}


def metadata(judge):
    is_clip = isinstance(judge, clips.ClipJudge)
    things = clips.THING if is_clip else {name: images.NAMES[name] for name in ("shape", "colour", "size")}
    scene = clips.SCENE if is_clip else {name: images.NAMES[name] for name in ("floor", "background")}
    convolutions = [block[0] for block in judge.body]
    lists = {
        "strides": [layer.stride[0] for layer in convolutions],
        "dilations": [layer.dilation[0] for layer in convolutions],
        "pooling": ["top", "bottom", "all"] if is_clip else ["top", "bottom"],
        "things": things, "scene": scene, **things, **scene,
    }
    return {"kind": "clip" if is_clip else "image", "frames": str(clips.SHOWN if is_clip else 1), "side": "64",
            "least": "0.4"} | {name: ",".join(map(str, names)) for name, names in lists.items()}


def write(path, tensors, metadata):
    """A safetensors file, names sorted, so that the same judge gives the same bytes every time."""
    names = {torch.float32: "F32", torch.float16: "F16"}
    header, chunks, offset = {"__metadata__": dict(sorted(metadata.items()))}, [], 0
    for name, tensor in sorted(tensors.items()):
        raw = tensor.contiguous().numpy().tobytes()
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
        chunks.append(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.writelines(chunks)
    return 8 + len(text) + offset


def export(judge, path, dtype=torch.float16):
    """Writes the file; returns its bytes."""
    made = {name: tensor.to(dtype) for name, tensor in tensors(judge.eval()).items()}
    if not all(tensor.isfinite().all() for tensor in made.values()):
        raise SystemExit(f"{path}: a weight does not fit {dtype}")
    return write(path, made, metadata(judge))


def load(path):
    """The judge whose state dict this is: of images, or of clips."""
    state = torch.load(path, map_location="cpu")
    judge = clips.ClipJudge() if state["body.0.0.weight"].shape[1] == 3 * clips.SHOWN else images.Judge()
    judge.load_state_dict(state)
    return judge.eval()


def rounded(judge):
    """The judge as the file has it: norms folded, weights rounded to float16."""
    made = {name: tensor.half().float() for name, tensor in tensors(judge).items()}
    other = copy.deepcopy(judge)
    with torch.no_grad():
        for index, (convolution, norm, _) in enumerate(other.body):
            convolution.weight.copy_(made[f"body.{index}.weight"])
            # What is left of the norm adds the bias.
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
            norm.weight.fill_(1)
            norm.bias.copy_(made[f"body.{index}.bias"])
        other.things.weight.copy_(made["things.weight"][:, :, None, None])
        other.things.bias.copy_(made["things.bias"])
        other.scene.weight.copy_(made["scene.weight"])
        other.scene.bias.copy_(made["scene.bias"])
    return other


def differing(judge, path, count):
    """Of how many of the first `count` samples the rounded judge sees something else, `sure` left aside."""
    data = torch.load(path, mmap=True)
    samples, other, wrong = data["clips" if "clips" in data else "images"][:count], rounded(judge), 0
    plain = lambda entry: entry | {"things": sorted(
        ({k: v for k, v in thing.items() if k != "sure"} for thing in entry["things"]), key=str)}
    for part in samples.split(32):
        part = part.float() / 255
        wrong += sum(plain(a) != plain(b) for a, b in zip(judge.look(part), other.look(part)))
    return wrong, len(samples)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judge", required=True, help="state dict that judge.py or judge_video.py wrote")
    parser.add_argument("--out", required=True)
    parser.add_argument("--check", metavar="DATA", help="data set to compare the answers over")
    parser.add_argument("--count", type=int, default=512, help="samples of it")
    args = parser.parse_args()
    judge = load(args.judge)
    print(f"{args.out}: {export(judge, args.out)} bytes")
    if args.check:
        print("{} of {} samples are seen differently".format(*differing(judge, args.check, args.count)))


if __name__ == "__main__":
    main()
