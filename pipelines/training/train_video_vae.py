"""Trains the video autoencoder (AutoencoderKLWan) on tabletop clips.

    python train_video_vae.py --data data/clips-a.pt data/clips-b.pt --out runs/video-vae --steps 4000

Every step takes crops of whole clips, a fifth of them at half size; the last steps take whole pictures. Losses: L1, L1 of differences across, down and in time, squared error and a small KL. Resumes from the checkpoint in
--out. When done, writes --out/vae in diffusers layout, with the latents' mean and spread by channel over the
training clips in its configuration, as Wan has them. The first --held clips of the first set are kept for PSNR.

A longer run with --decoder trains the decoder alone: latents stay what they are, so that a transformer trained
on them still fits.
"""

import argparse
import json
import math
import os
import time

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl_wan import WanResample

import models


# ---------------------------------------------------------------------------------------------
# The class works through a clip a few frames at a time, with a cache. Whole clips at once give the
# same numbers (compare `check`), and torch can differentiate and compile that.


def encode(vae, clips):
    """Posterior mean and log variance of clips [n, 3, 1 + 4k, h, w] in -1...1."""
    encoder = vae.encoder
    x = encoder.conv_in(clips)
    for layer in encoder.down_blocks:
        x = layer(x)
        if isinstance(layer, WanResample) and layer.mode == "downsample3d":
            x = torch.cat([x[:, :, :1], layer.time_conv(x)], 2)  # the first frame stands for itself
    x = encoder.conv_out(encoder.nonlinearity(encoder.norm_out(encoder.mid_block(x))))
    return vae.quant_conv(x).chunk(2, 1)


def decode(vae, latents):
    decoder = vae.decoder
    x = decoder.mid_block(decoder.conv_in(vae.post_quant_conv(latents)))
    for block in decoder.up_blocks:
        for layer in block.resnets:
            x = layer(x)
        for layer in block.upsamplers or ():
            if layer.mode == "upsample3d":
                later = layer.time_conv(x[:, :, 1:]).unflatten(1, (2, -1))  # two frames of each but the first
                x = torch.cat([x[:, :, :1], torch.stack(later.unbind(1), 3).flatten(2, 3)], 2)
            x = layer(x)
    return decoder.conv_out(decoder.nonlinearity(decoder.norm_out(x)))


@torch.no_grad()
def check(vae):
    """The largest difference between both ways."""
    x = torch.rand(1, 3, 9, 32, 32, device=vae.device) * 2 - 1
    mean = vae.encode(x).latent_dist.mean
    shown = decode(vae, mean).clamp(-1, 1)
    return max((encode(vae, x)[0] - mean).abs().max().item(), (shown - vae.decode(mean).sample).abs().max().item())


def normalised(vae, mean):
    """Latents as the transformer takes them."""
    view = lambda values: torch.tensor(values, device=mean.device).view(1, -1, 1, 1, 1)
    return (mean - view(vae.config.latents_mean)) / view(vae.config.latents_std)


# ---------------------------------------------------------------------------------------------


def differences(x):
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :], x[:, :, 1:] - x[:, :, :-1]


def losses(vae, x, noise, kl_weight):
    mean, log_variance = encode(vae, x)
    log_variance = log_variance.float().clamp(-30, 20)
    y = decode(vae, mean + (0.5 * log_variance).exp() * noise).float()
    l1 = (y - x).abs().mean()
    edge = sum((a - b).abs().mean() for a, b in zip(differences(y), differences(x)))
    mse = (y - x).square().mean()
    kl = 0.5 * (mean.float().square() + log_variance.exp() - 1 - log_variance).mean()
    return l1 + edge + 4 * mse + kl_weight * kl, mse, kl


def draw(sets, count, side, small, generator, device):
    """side x side crops of clips, [count, 3, frames, side, side] in -1...1, some flipped; if `small`, of half size."""
    clips = sets[torch.randint(len(sets), (), generator=generator)]
    reach = 2 * side if small else side
    pick, top, left, flip = (torch.randint(limit, (count,), generator=generator).tolist() for limit in (
        len(clips), *[(clips.shape[-1] - reach) // 2 + 1] * 2, 2))
    x = torch.stack([clips[i, :, :, 2 * t:2 * t + reach, 2 * l:2 * l + reach] for i, t, l in zip(pick, top, left)])
    x = (x.to(device).float() / 127.5 - 1).transpose(1, 2)
    x = F.avg_pool3d(x, (1, 2, 2)) if small else x
    return torch.stack([part.flip(-1) if f else part for part, f in zip(x, flip)])


class Optimizer(torch.optim.AdamW):
    """AdamW with Muon's updates for the convolutions inside: their momentum, made orthogonal as one matrix."""

    def __init__(self, vae, lr):
        inside = lambda name, p: p.ndim >= 4 and p.numel() > 512 and "conv_in" not in name and name[:4] != "post"
        named = list(vae.named_parameters())
        super().__init__([p for name, p in named if not inside(name, p)], lr, betas=(0.9, 0.99), weight_decay=1e-3)
        self.add_param_group({"params": [p for name, p in named if inside(name, p)], "muon": True})

    @torch.no_grad()
    def step(self):
        group = self.param_groups[-1]
        for p in group["params"]:
            if p.grad is None:
                continue
            state, grad = self.state[p], p.grad
            state.setdefault("step", torch.tensor(0.0))  # which AdamW looks for when it is loaded
            momentum = state.setdefault("momentum", torch.zeros_like(grad))
            momentum.lerp_(grad, 0.05)
            x = orthogonal(grad.lerp(momentum, 0.95).flatten(1))
            p.mul_(1 - group["lr"] * group["weight_decay"])
            p.add_(x.view_as(p), alpha=-group["lr"] * 0.2 * max(x.shape) ** 0.5)
            p.grad = None
        torch.nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 1.0)
        super().step()


def orthogonal(x):
    """The nearest orthogonal matrix, roughly, by five Newton-Schulz steps (Jordan 2024, Muon)."""
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.T if tall else x


@torch.no_grad()
def psnr(vae, clips, device, batch=4):
    """Mean PSNR over frames of deterministic reconstructions, in float32, by the class's own way."""
    total = 0.0
    for part in clips.split(batch):
        models.wait_while_paused()
        x = (part.to(device).float() / 127.5 - 1).transpose(1, 2)
        y = vae.decode(vae.encode(x).latent_dist.mode()).sample
        total += (10 * torch.log10(4 / (y - x).square().mean((1, 3, 4)))).mean(1).sum().item()
    return total / len(clips)


@torch.no_grad()
def statistics(vae, clips, device, batch=8):
    means = [encode(vae, (part.to(device).float() / 127.5 - 1).transpose(1, 2))[0] for part in clips.split(batch)]
    z = torch.cat(means)
    return z.mean((0, 2, 3, 4)).tolist(), z.std((0, 2, 3, 4)).tolist()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, help="data sets written by clips.py")
    parser.add_argument("--out", required=True)
    parser.add_argument("--preset", default="tiny", choices=models.VIDEO_PRESETS)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=32)
    parser.add_argument("--whole", type=float, default=0.15, help="last share of training on whole clips")
    parser.add_argument("--small", type=float, default=0.2, help="share of the other steps at half size")
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--kl", type=float, default=1e-3)
    parser.add_argument("--held", type=int, default=64, help="clips of the first set kept for PSNR")
    parser.add_argument("--decoder", action="store_true", help="train the decoder alone")
    parser.add_argument("--from-step", type=int, default=0, help="where the cosine of learning rates begins")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    os.makedirs(args.out, exist_ok=True)

    sets = [torch.load(path, mmap=True)["clips"] for path in args.data]
    held, sets[0] = sets[0][:args.held], sets[0][args.held:]
    vae = models.make_video_vae(**models.VIDEO_PRESETS[args.preset]["vae"]).to(args.device)
    optimizer = Optimizer(vae, args.lr)
    if args.decoder:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    generator = torch.Generator().manual_seed(1)
    checkpoint, step = os.path.join(args.out, "checkpoint.pt"), 0
    if os.path.exists(checkpoint):
        state = torch.load(checkpoint, map_location=args.device)
        step = state["step"]
        vae.load_state_dict(state["vae"])
        optimizer.load_state_dict(state["optimizer"])
        generator.manual_seed(1 + step)
    print(f"{models.parameters(vae) / 1e6:.2f}M parameters, from step {step}", flush=True)
    forward = torch.compile(losses) if args.compile else losses

    def save():
        torch.save({"step": step, "vae": vae.state_dict(), "optimizer": optimizer.state_dict()}, checkpoint + ".new")
        os.replace(checkpoint + ".new", checkpoint)

    began, seen, sums = time.time(), 0, torch.zeros(3)
    while step < args.steps:
        models.wait_while_paused()
        whole = step >= args.steps - args.whole * (args.steps - args.from_step)
        small = not whole and torch.rand((), generator=generator) < args.small
        side, count = (sets[0].shape[-1], max(2, args.batch // 4)) if whole else (args.crop, args.batch)
        x = draw(sets, count, side, small, generator, args.device)
        noise = torch.randn(models.latent_shape(vae, x.shape), device=args.device)
        with models.autocast(args.device):
            loss, mse, kl = (losses if whole else forward)(vae, x, noise, args.kl)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for group in optimizer.param_groups:
            local, total = step - args.from_step, args.steps - args.from_step
            group["lr"] = args.lr * min(1.0, (local + 1) / 100) * (
                0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * local / total)))
        optimizer.step()
        step, seen = step + 1, seen + count * x.shape[2]
        sums += torch.stack([loss.detach(), mse.detach(), kl.detach()]).cpu()
        if step % 100 == 0:
            loss, mse, kl = (sums / 100).tolist()
            print(f"step {step} loss {loss:.4f} psnr {10 * math.log10(4 / mse):.2f} kl {kl:.2f} "
                  f"{seen / (time.time() - began):.1f} frames/s", flush=True)
            sums.zero_()
        if step % 250 == 0:
            save()
    save()

    vae.eval()
    mean, std = statistics(vae, sets[0][:128], args.device)
    vae.register_to_config(latents_mean=[round(v, 5) for v in mean], latents_std=[round(v, 5) for v in std])
    vae.save_pretrained(os.path.join(args.out, "vae"))
    report = {"psnr": psnr(vae, held, args.device), "difference_of_ways": check(vae), "latents_mean": mean,
              "latents_std": std, "steps": step, "parameters": models.parameters(vae)}
    with open(os.path.join(args.out, "report.json"), "w") as file:
        json.dump(report, file, indent=1)
    print(report)


if __name__ == "__main__":
    main()
