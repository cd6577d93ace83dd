"""Toy Wan pipelines in the diffusers layout, and the clips diffusers makes of them.

    python Tests/PipelineTests/Fixtures/make_wan_pipelines.py [toy-wan] [toy-wan-experts] [toy-wan-ti2v]

run from the repository root, with the versions that make_pipelines.py names. Random weights: flow matching keeps their
latents in bounds. `toy-wan` is Wan 2.1, and carries a boundary ratio that means nothing without a second transformer;
`toy-wan-experts` has two (Wan 2.2 A14B), `toy-wan-ti2v` the patchified autoencoder and a timestep for every token
(Wan 2.2 TI2V).

Keys of expected/<case>.safetensors: input.noise and output.latents [1, C, T, h, w], output.frames [F, H, W, 3] uint8,
output.timesteps [S] int64, input.ids [2 or 1, L] (prompt first).
"""

import json
import logging
import shutil
import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import make_pipelines as toys  # noqa: E402
from make_pipelines import golden  # noqa: E402

from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel  # noqa: E402
from transformers import UMT5Config, UMT5EncoderModel  # noqa: E402

logging.disable(logging.WARNING)
COMMAND = "python Tests/PipelineTests/Fixtures/make_wan_pipelines.py"


def text_encoder(vocabulary, seed):
    config = UMT5Config(
        vocab_size=vocabulary, d_model=24, d_ff=32, d_kv=10, num_heads=3, num_layers=2, feed_forward_proj="gated-gelu",
        is_encoder_decoder=False, use_cache=False, dropout_rate=0.0)
    model = golden.enliven(UMT5EncoderModel(config), seed)
    g = torch.Generator().manual_seed(seed + 1)
    for key, p in model.named_parameters():
        if "relative_attention_bias" in key or key == "shared.weight":
            p.copy_(torch.randn(p.shape, generator=g))
        elif key.endswith("SelfAttention.q.weight"):
            p.mul_(0.6)
    return model


def transformer(seed):
    return golden.enliven(WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=16, in_channels=3, out_channels=3, text_dim=24,
        freq_dim=32, ffn_dim=48, num_layers=2, rope_max_seq_len=64), seed)


def autoencoder(seed, patch, **options):
    return golden.enliven(AutoencoderKLWan(
        base_dim=6, z_dim=3, dim_mult=[1, 2, 2], num_res_blocks=1, temperal_downsample=[True, True],
        latents_mean=[0.1, -0.2, 0.3], latents_std=[1.5, 0.7, 1.1], scale_factor_spatial=4 * patch, **options), seed,
        matrix=1.7)


def save(name, seed, second=False, patch=1, vae={}, **settings):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    words, pieces = toys.tokenizer()
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0)
    WanPipeline(
        tokenizer=words, text_encoder=text_encoder(len(words), seed), vae=autoencoder(seed + 1, patch, **vae),
        scheduler=scheduler, transformer=transformer(seed + 2), transformer_2=transformer(seed + 3) if second else None,
        **settings).save_pretrained(folder)
    (folder / "tokenizer" / "spiece.model").write_bytes(pieces)
    return folder


def expect(name, folder, call):
    pipe = WanPipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    noises, latents, ids, times = [], [], [], []
    step = pipe.scheduler.step

    def stepping(prediction, t, sample, **kwargs):
        noises.append(sample.clone())
        times.append(int(t))
        out = step(prediction, t, sample, **kwargs)
        latents.append(out[0].clone())
        return out

    pipe.scheduler.step = stepping
    pipe.text_encoder.register_forward_hook(lambda _, args, out: ids.append(args[0]))
    arguments = {k: v for k, v in call.items() if k != "seed"}
    frames = pipe(**arguments, generator=torch.Generator("cpu").manual_seed(call["seed"]), output_type="np").frames[0]
    path = HERE / "expected" / f"{name}.safetensors"
    tensors = {
        "input.noise": noises[0], "input.ids": torch.cat(ids), "output.latents": latents[-1],
        "output.timesteps": torch.tensor(times),
        "output.frames": (torch.from_numpy(frames) * 255).round().to(torch.uint8)}
    golden.write(path, tensors, {
        "call": json.dumps(call, sort_keys=True), "pipeline": folder.name, "versions": golden.versions(),
        "command": COMMAND})
    golden.check(path, tensors)


CALL = {"num_inference_steps": 10, "max_sequence_length": 20, "negative_prompt": "blurry, low quality"}
CASES = {
    "toy-wan": (lambda: save("toy-wan", 210), {
        "wan-clip": CALL | dict(prompt="a red  cat &amp; a lamp on a table", guidance_scale=5.0, height=32, width=48,
                                num_frames=17, seed=0),
        "wan-frame": CALL | dict(prompt="one large tree under a wide sky", guidance_scale=1.0, height=48, width=32,
                                 num_frames=1, seed=1),
        "wan-ragged": CALL | dict(prompt="A painting of a Blue boat, near the sea, in the rain, at night, of old wood",
                                  guidance_scale=3.0, height=48, width=80, num_frames=9, seed=2),
    }),
    "toy-wan-experts": (lambda: save("toy-wan-experts", 230, second=True, boundary_ratio=0.875), {
        "wan-experts": CALL | dict(prompt="a green apple", guidance_scale=4.0, height=32, width=32, num_frames=5,
                                   seed=3),
    }),
    "toy-wan-ti2v": (lambda: save(
        "toy-wan-ti2v", 250, patch=2, expand_timesteps=True,
        vae=dict(decoder_base_dim=8, is_residual=True, patch_size=2, in_channels=12, out_channels=12)), {
        "wan-ti2v": CALL | dict(prompt="the small white house", guidance_scale=5.0, height=48, width=64, num_frames=9,
                                seed=4),
    }),
}

if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        make, cases = CASES[name]
        folder = make()
        print(name, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")
        for case, call in cases.items():
            expect(case, folder, call)
        if name == "toy-wan":  # some converted folders carry it; diffusers itself would look for transformer_2
            index = json.loads((folder / "model_index.json").read_text()) | {"boundary_ratio": 0.875}
            (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
