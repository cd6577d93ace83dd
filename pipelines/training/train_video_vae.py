"""Trains the video autoencoder (AutoencoderKLWan) on tabletop clips.

    python train_video_vae.py --data data/clips-a.pt data/clips-b.pt --out runs/video-vae --steps 4000

Every step takes nine frames of each clip, a fifth of the steps at half size (four clips to a picture). Losses:
L1, L1 of differences across, down and in time, squared error and a small KL. Resumes from the checkpoint in
--out. When done, writes --out/vae in diffusers layout, with the latents' mean and spread by channel over the
training clips in its configuration, as Wan has them. The first --held clips of the first set are kept for PSNR.
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


def draw(sets, count, frames, small, generator, device):
    """Random parts of clips, [count, 3, frames, h, w] in -1...1, some flipped; `small` puts four in one."""
    def some():
        clips = sets[torch.randint(len(sets), (), generator=generator)]
        pick = torch.randint(len(clips), (count,), generator=generator).tolist()
        start = torch.randint(clips.shape[1] - frames + 1, (count,), generator=generator).tolist()
        flip = torch.rand(count, generator=generator) < 0.5
        x = torch.stack([clips[i, s:s + frames] for i, s in zip(pick, start)]).to(device).float() / 127.5 - 1
        return torch.where(flip.view(-1, 1, 1, 1, 1).to(device), x.flip(-1), x).transpose(1, 2)

    if not small:
        return some().contiguous()
    a, b, c, d = (F.avg_pool3d(some(), (1, 2, 2)) for _ in range(4))
    return torch.cat([torch.cat([a, b], -1), torch.cat([c, d], -1)], -2).contiguous()


@torch.no_grad()
def psnr(vae, clips, device, batch=4):
    """Mean PSNR over frames of deterministic reconstructions, in float32, by the class's own way."""
    total = 0.0
    for part in clips.split(batch):
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
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--frames", type=int, default=9)
    parser.add_argument("--small", type=float, default=0.2, help="share of steps at half size")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--kl", type=float, default=2e-4)
    parser.add_argument("--held", type=int, default=128, help="clips of the first set kept for PSNR")
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
    optimizer = torch.optim.AdamW(vae.parameters(), args.lr, betas=(0.9, 0.99), weight_decay=1e-3)
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
        small = torch.rand((), generator=generator) < args.small
        x = draw(sets, args.batch, args.frames, small, generator, args.device)
        noise = torch.randn(models.latent_shape(vae, x.shape), device=args.device)
        with models.autocast(args.device):
            loss, mse, kl = forward(vae, x, noise, args.kl)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = args.lr * min(1.0, (step + 1) / 100) * (
                0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / args.steps)))
        optimizer.step()
        step, seen = step + 1, seen + args.batch * args.frames
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
    mean, std = statistics(vae, sets[0][:256], args.device)
    vae.register_to_config(latents_mean=[round(v, 5) for v in mean], latents_std=[round(v, 5) for v in std])
    vae.save_pretrained(os.path.join(args.out, "vae"))
    report = {"psnr": psnr(vae, held, args.device), "difference_of_ways": check(vae), "latents_mean": mean,
              "latents_std": std, "steps": step, "parameters": models.parameters(vae)}
    with open(os.path.join(args.out, "report.json"), "w") as file:
        json.dump(report, file, indent=1)
    print(report)


if __name__ == "__main__":
    main()
