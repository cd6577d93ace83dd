"""Trains the text encoder and the Wan transformer together, by flow matching on cached latents of clips.

    python train_video.py --vae runs/video-vae/vae --data data/clips-a.pt data/clips-b.pt --out runs/video \
        --stages 32:4000:64 64:4000:24

A stage is size:steps:batch[:lr]; clips are made smaller to its size before they are encoded, once, into --out.
Resumes from the checkpoint in --out, which also holds the averaged (EMA) weights that export.py publishes.
"""

import argparse
import copy
import math
import os
import random
import shutil
import time

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan

import clips
import grounding
import models
import tabletop
from train_image import Optimizers, noise_levels
from train_video_vae import encode, normalised

# WanPipeline pads text with zeros to 512 tokens and masks none of them. Captions have at most TOKENS; one more
# token stands for all the other zeros: a softmax gives n equal keys what it gives one whose logit is log n higher.
TEXT_LENGTH, TOKENS = 512, 40


class PlainAttention:
    """What WanAttnProcessor computes, with plain products, and `padding` as the weight of the last text token."""

    def __call__(self, attention, hidden_states, encoder_hidden_states=None, attention_mask=None, rotary_emb=None):
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = attention.to_q(hidden_states), attention.to_k(source), attention.to_v(source)
        q, k = self.norm(attention.norm_q, q), self.norm(attention.norm_k, k)
        q, k, v = (x.unflatten(2, (attention.heads, -1)) for x in (q, k, v))
        if rotary_emb is not None:
            cos, sin = rotary_emb[0][..., 0::2], rotary_emb[1][..., 1::2]
            q, k = self.turn(q, cos, sin), self.turn(k, cos, sin)
        q, k, v = (x.transpose(1, 2).to(v.dtype) for x in (q, k, v))
        logits = (q @ k.transpose(-1, -2)).float() * q.shape[-1] ** -0.5
        if encoder_hidden_states is not None:
            weight = math.log(TEXT_LENGTH - TOKENS)
            logits = torch.cat([logits[..., :-1], logits[..., -1:] + weight], -1)
        mixed = logits.softmax(-1).to(v.dtype) @ v
        return attention.to_out[0](mixed.transpose(1, 2).flatten(2))

    @staticmethod
    def norm(layer, x):
        x = x.float()
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + layer.eps) * layer.weight

    @staticmethod
    def turn(x, cos, sin):
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


def set_plain_attention(transformer):
    for block in transformer.blocks:
        block.attn1.set_processor(PlainAttention())
        block.attn2.set_processor(PlainAttention())


def tokenize(tokenizer, captions, device="cpu"):
    batch = tokenizer(captions, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt")
    return batch.input_ids.to(device), batch.attention_mask.to(device)


@torch.no_grad()
def latents_of(vae, data, size, flip, device, batch=16):
    """Normalised posterior means of a data set's clips at `size`, kept in bf16."""
    parts, began = [], time.time()
    for part in data.split(batch):
        models.wait_while_paused()
        x = (part.to(device).float() / 127.5 - 1).transpose(1, 2)
        x = F.avg_pool3d(x, (1, x.shape[-1] // size, x.shape[-1] // size)) if x.shape[-1] != size else x
        with models.autocast(device):
            mean = encode(vae, x.flip(-1) if flip else x)[0]
        parts.append(normalised(vae, mean.float()).bfloat16().cpu().contiguous())
    print(f"encoded {len(data)} clips at {size} in {time.time() - began:.0f} s", flush=True)
    return torch.cat(parts)


def load_latents(paths, size, vae_path, out, held, device, mirrored=True):
    """(latents, attributes) of all clips, as they are and mirrored; encoded once, then read from --out."""
    latents, truths, vae = [], [], None
    for number, path in enumerate(paths):
        data = torch.load(path, mmap=True)
        first = held if number == 0 else 0
        for flip in (False, True)[:1 + mirrored]:
            cache = os.path.join(out, f"latents-{size}-{'mirrored-' * flip}{os.path.basename(path)}")
            if not os.path.exists(cache):
                vae = vae or AutoencoderKLWan.from_pretrained(vae_path).to(device).eval()
                torch.save(latents_of(vae, data["clips"][first:], size, flip, device), cache + ".new")
                os.replace(cache + ".new", cache)
            latents.append(torch.load(cache))
            truths += [clips.mirror(truth) if flip else truth for truth in data["attributes"][first:]]
    latents = torch.cat(latents)
    print(f"{len(truths)} clips at {size}, latents {tuple(latents.shape[1:])}, std {latents.float().std():.3f}",
          flush=True)
    return latents, truths


def flow_loss(transformer, states, clean, mask, sigma, noise):
    states = F.pad(states * mask[..., None].to(states.dtype), (0, 0, 0, 1))
    level = sigma.view(-1, 1, 1, 1, 1)
    flow = transformer((1 - level) * clean + level * noise, sigma * 1000, states, return_dict=False)[0]
    return (flow.float() - (noise - clean)).square().mean()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, help="data sets written by clips.py")
    parser.add_argument("--vae", required=True, help="folder written by train_video_vae.py")
    parser.add_argument("--out", required=True)
    parser.add_argument("--preset", default="tiny", choices=models.VIDEO_PRESETS)
    parser.add_argument("--stages", nargs="+", default=["32:4000:64", "64:4000:24"])
    parser.add_argument("--start", help="checkpoint of another run: begin with its (averaged) transformer and its words")
    parser.add_argument("--ground", type=float, default=0.0, metavar="WEIGHT",
                        help="ask the text encoder what each noun means, beside the flow (see grounding.py)")
    parser.add_argument("--ground-steps", type=int, default=0, help="steps of that alone, before the first")
    parser.add_argument("--shift", type=float, default=1.0, help="as in train_image.py")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--drop", type=float, default=0.1, help="share of captions left empty, for guidance")
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--held", type=int, default=128, help="clips of the first set kept from training")
    parser.add_argument("--no-mirror", action="store_true", help="no mirrored clips")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--save-every", type=int, default=250)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    os.makedirs(args.out, exist_ok=True)
    preset = models.VIDEO_PRESETS[args.preset]

    folder = os.path.join(args.out, "tokenizer")
    if args.start and not os.path.exists(folder):
        shutil.copytree(os.path.join(os.path.dirname(args.start), "tokenizer"), folder)
    tokenizer = models.load_tokenizer(folder) if os.path.exists(folder) else models.make_tokenizer(folder)
    text = models.make_video_text_encoder(len(tokenizer), **preset["text"]).to(args.device)
    transformer = models.make_video_model(
        preset["vae"]["latent"], text.config.d_model, **preset["video"]).to(args.device)
    set_plain_attention(transformer)
    networks = torch.nn.ModuleDict({"transformer": transformer, "text": text})
    asks = grounding.Grounding(tokenizer, text.config.d_model).to(args.device)
    if args.start:
        weights = torch.load(args.start, map_location=args.device)["average"]
        transformer.load_state_dict({name.removeprefix("transformer."): w for name, w in weights.items()
                                     if name.startswith("transformer.")})
    checkpoint = os.path.join(args.out, "checkpoint.pt")
    if args.ground_steps and not os.path.exists(checkpoint):
        truths = [truth for path in args.data for truth in torch.load(path, mmap=True)["attributes"]]
        grounding.pretrain(text, tokenizer, asks, truths, args.ground_steps, args.device)
    average = copy.deepcopy(networks).requires_grad_(False)
    optimizers = Optimizers(transformer, text, asks, args.lr)
    print(f"transformer {models.parameters(transformer) / 1e6:.2f}M, "
          f"text encoder {models.parameters(text) / 1e6:.2f}M parameters", flush=True)

    stages = [[float(part) for part in stage.split(":")] for stage in args.stages]
    total = int(sum(stage[1] for stage in stages))
    step = 0
    if os.path.exists(checkpoint):
        state = torch.load(checkpoint, map_location=args.device)
        step = state["step"]
        networks.load_state_dict(state["networks"])
        average.load_state_dict(state["average"])
        asks.load_state_dict(state["grounding"])
        optimizers.load_state_dict(state["optimizers"])
        print(f"resumed at step {step}", flush=True)
    generator = torch.Generator().manual_seed(step)
    rng = random.Random(step)
    forward = torch.compile(flow_loss) if args.compile else flow_loss

    def save():
        torch.save({"step": step, "networks": networks.state_dict(), "average": average.state_dict(),
                    "optimizers": optimizers.state_dict(), "preset": args.preset,
                    "grounding": asks.state_dict()}, checkpoint + ".new")
        os.replace(checkpoint + ".new", checkpoint)

    first = 0
    for stage in stages:
        size, steps, count = (int(value) for value in stage[:3])
        peak = stage[3] if len(stage) > 3 else args.lr
        if step < first + steps:
            latents, truths = load_latents(
                args.data, size, args.vae, args.out, args.held, args.device, not args.no_mirror)
        shift = max(1.0, size / 32)  # more redundant signal needs more noise to be equally hard
        began, seen, losses = time.time(), 0, []
        while step < first + steps:
            models.wait_while_paused()
            pick = torch.randint(len(latents), (count,), generator=generator)
            clean = latents[pick].to(args.device).float()
            captions = ["" if rng.random() < args.drop else tabletop.describe(truths[i], rng) for i in pick.tolist()]
            ids, mask = tokenize(tokenizer, captions, args.device)
            sigma = noise_levels(count, shift, generator, args.shift).to(args.device)
            noise = torch.randn(clean.shape, generator=generator).to(args.device)
            with models.autocast(args.device):
                states = text(input_ids=ids, attention_mask=mask).last_hidden_state
                loss = forward(transformer, states, clean, mask, sigma, noise)
            if args.ground:
                told, right = asks(states, ids, [truths[i] for i in pick.tolist()], captions)
                (loss + args.ground * told).backward()
            else:
                loss.backward()
            # Warm up at each stage; one cosine over all of training.
            lr = peak * min(1.0, (step - first + 1) / 100) * (
                0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / total)))
            optimizers.step(lr)
            step, seen = step + 1, seen + count
            decay = min(args.ema, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(list(average.parameters()), list(networks.parameters()), 1 - decay)
            losses.append(loss.item())
            if step % 50 == 0:
                print(f"step {step} size {size} loss {sum(losses) / len(losses):.4f} lr {lr:.2e} "
                      f"{seen / (time.time() - began):.1f} samples/s"
                      + (f", nouns right {right:.2f}" if args.ground else ""), flush=True)
                losses = []
            if step % args.save_every == 0:
                save()
        first += steps
    save()


if __name__ == "__main__":
    main()
