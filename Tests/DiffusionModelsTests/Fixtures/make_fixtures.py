"""Golden fixtures of the model components: toy models of diffusers and transformers, their inputs and outputs.

    python Tests/DiffusionModelsTests/Fixtures/make_fixtures.py [name ...]

run from the repository root, in the environment that docs name "reference" (seen with Python 3.11, torch 2.15.0,
diffusers 0.42.1, transformers 5.23.0). Without names every fixture is made. The same versions give the same bytes.

Each file holds `weights.<state dict name>`, `input.<case>.<name>`, `output.<case>.<name>`, and in its metadata
`config` (the component's config.json), `versions` and `command`. Floats are float32; token ids, masks, labels and
buckets int64. `output.<case>.block.<n>` is what leaves block n, `output.<case>.patches` what leaves the patch
embedding (positions added), `output.<case>.time` the raw modulation of AdaLN-single: stations on the way to the
result (in a transformer's first case), for finding where a port goes astray.
"""

import json
import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
import golden  # noqa: E402

from diffusers import (  # noqa: E402
    AutoencoderKL, AutoencoderKLWan, AutoencoderTiny, DiTTransformer2DModel, PixArtTransformer2DModel, WanTransformer3DModel)
from transformers import T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel  # noqa: E402
from transformers.models.t5.modeling_t5 import T5Attention  # noqa: E402

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
torch.set_grad_enabled(False)

COMMAND = "python Tests/DiffusionModelsTests/Fixtures/make_fixtures.py"


def normal(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def save(name, config, tensors):
    path = HERE / f"{name}.safetensors"
    golden.write(path, tensors, {"config": config, "versions": golden.versions(), "command": COMMAND})
    golden.check(path, tensors)


def config_of(model, **extra):
    config = {k: v for k, v in model.config.items() if not k.startswith("_")}
    return json.dumps({"_class_name": type(model).__name__, **config, **extra}, sort_keys=True)


def stations(module, case, into):
    """Records what leaves the patch embedding, each block and AdaLN-single."""
    def keep(name):
        def hook(_, __, out):
            into[f"output.{case}.{name}"] = (out[0] if isinstance(out, tuple) else out).clone()
        return hook

    hooks = [module.pos_embed.register_forward_hook(keep("patches"))]
    hooks += [b.register_forward_hook(keep(f"block.{i}")) for i, b in enumerate(module.transformer_blocks)]
    if hasattr(module, "adaln_single"):
        hooks.append(module.adaln_single.register_forward_hook(keep("time")))
    return hooks


# Text encoder


def t5(name, seed, config_class=T5Config, model_class=T5EncoderModel, **options):
    config = config_class(
        vocab_size=60, d_model=32, num_layers=2, is_encoder_decoder=False, use_cache=False, dropout_rate=0.0,
        relative_attention_num_buckets=32, relative_attention_max_distance=128, **options)
    torch.manual_seed(seed)
    model = golden.enliven(model_class(config), seed)
    g = torch.Generator().manual_seed(seed + 1)
    for key, p in model.named_parameters():
        if "relative_attention_bias" in key or key == "shared.weight":
            p.copy_(torch.randn(p.shape, generator=g))
        elif key.endswith("SelfAttention.q.weight"):  # T5 does not scale the scores: its q is small instead
            p.mul_(options["d_kv"] ** -0.5 * 2)
    ids = torch.randint(3, 60, (2, 20), generator=g)
    mask = torch.ones(2, 20, dtype=torch.int64)
    ids[0, 19] = 1
    ids[1, 12], ids[1, 13:], mask[1, 13:] = 1, 0, 0
    long = torch.randint(3, 60, (1, 150), generator=g)
    positions = torch.arange(-200, 201)
    tensors = {k: v for k, v in golden.weights(model).items() if k != "weights.encoder.embed_tokens.weight"}
    tensors |= {
        "input.padded.input_ids": ids, "input.padded.attention_mask": mask,
        "output.padded.last_hidden_state": model(ids, attention_mask=mask).last_hidden_state,
        "input.long.input_ids": long,
        "output.long.last_hidden_state": model(long).last_hidden_state,
        "input.buckets.relative_position": positions,  # key minus query
        "output.buckets.bucket": T5Attention._relative_position_bucket(positions, True, 32, 128),
    }
    save(name, json.dumps(config.to_dict(), sort_keys=True), tensors)


# Transformers

PIXART = dict(
    num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=8, num_layers=2, cross_attention_dim=24,
    caption_channels=20, sample_size=16, patch_size=2, interpolation_scale=2, norm_num_groups=32)


def pixart_cases(model, cases, seed, added=lambda case: None):
    tensors = golden.weights(model)
    for n, (case, (shape, timesteps, lengths)) in enumerate(cases.items()):
        latents, text = normal(seed + 10 * n, *shape), normal(seed + 10 * n + 1, shape[0], 11, 20)
        mask = torch.tensor([[1] * k + [0] * (11 - k) for k in lengths])
        timestep = torch.tensor(timesteps)
        conditions = added(case)
        hooks = stations(model, case, tensors) if n == 0 else []
        sample = model(latents, encoder_hidden_states=text, encoder_attention_mask=mask, timestep=timestep,
                       added_cond_kwargs=conditions, return_dict=False)[0]
        for h in hooks:
            h.remove()
        tensors |= {f"input.{case}.latents": latents, f"input.{case}.encoder_hidden_states": text,
                    f"input.{case}.encoder_attention_mask": mask, f"input.{case}.timestep": timestep.float(),
                    f"output.{case}.sample": sample}
        for key, value in (conditions or {}).items():
            tensors[f"input.{case}.{key}"] = value
    return tensors


def pixart_sigma():
    model = golden.enliven(PixArtTransformer2DModel(**PIXART, use_additional_conditions=False), 20)
    save("pixart_sigma", config_of(model), pixart_cases(model, {
        "square": ([2, 4, 16, 16], [999, 20], [11, 4]),
        "wide": ([1, 4, 8, 24], [513.0], [7]),
        "tall": ([1, 4, 14, 10], [250.5], [1]),
    }, 200))


def pixart_alpha():
    model = golden.enliven(PixArtTransformer2DModel(**PIXART, use_additional_conditions=True), 30)
    sizes = {"resolution": torch.tensor([[1024.0, 1024.0], [768.0, 1344.0]]),
             "aspect_ratio": torch.tensor([[1.0], [768 / 1344]])}
    save("pixart_alpha", config_of(model), pixart_cases(
        model, {"batch": ([2, 4, 8, 12], [999, 0], [11, 5])}, 300, lambda _: sizes))


def wan():
    """Two shapes and one frame, whose token grids have odd sides; text zero past its end, as the pipeline pads it."""
    model = golden.enliven(WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=20, in_channels=4, out_channels=4, text_dim=12,
        freq_dim=32, ffn_dim=56, num_layers=2, cross_attn_norm=True, rope_max_seq_len=64), 50)
    tensors = golden.weights(model)
    for n, (case, (shape, timestep, length)) in enumerate({
        "clip": ([1, 4, 3, 8, 12], 999, 9), "image": ([1, 4, 1, 10, 6], 20, 16), "odd": ([1, 4, 5, 6, 14], 437, 1),
    }.items()):
        latents, text = normal(500 + n, *shape), normal(510 + n, 1, 16, 12)
        text[:, length:] = 0
        sample = model(latents, timestep=torch.tensor([timestep]), encoder_hidden_states=text, return_dict=False)[0]
        tensors |= {f"input.{case}.latents": latents, f"input.{case}.timestep": torch.tensor([float(timestep)]),
                    f"input.{case}.encoder_hidden_states": text, f"output.{case}.sample": sample}
    # Wan 2.2 TI2V gives every token its own timestep; in text-to-video all are the same.
    latents, text = tensors["input.clip.latents"], tensors["input.clip.encoder_hidden_states"]
    tensors["output.clip.expanded"] = model(
        latents, timestep=torch.full((1, 3 * 4 * 6), 999), encoder_hidden_states=text, return_dict=False)[0]
    save("wan", config_of(model), tensors)


def dit():
    model = golden.enliven(DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8, num_layers=2, sample_size=8,
        patch_size=2, norm_eps=1e-5, num_embeds_ada_norm=10), 40)
    tensors = golden.weights(model)
    for n, (case, size) in enumerate({"trained": 8, "larger": 12}.items()):
        latents, timestep, labels = normal(400 + n, 2, 4, size, size), torch.tensor([999, 37]), torch.tensor([3, 10])
        hooks = stations(model, case, tensors)
        sample = model(latents, timestep=timestep, class_labels=labels, return_dict=False)[0]
        for h in hooks:
            h.remove()
        tensors |= {f"input.{case}.latents": latents, f"input.{case}.timestep": timestep.float(),
                    f"input.{case}.class_labels": labels, f"output.{case}.sample": sample}
    save("dit", config_of(model), tensors)


# Autoencoders


def kl_model(seed, channels, **options):
    n = len(channels)
    return golden.enliven(AutoencoderKL(
        block_out_channels=channels, down_block_types=("DownEncoderBlock2D",) * n,
        up_block_types=("UpDecoderBlock2D",) * n, layers_per_block=1, norm_num_groups=4, latent_channels=4,
        sample_size=32, **options), seed)


def kl(name, seed, channels, encode_shape=(1, 3, 24, 20), **options):
    model = kl_model(seed, channels, **options)
    latents, image = normal(seed * 10, 1, 4, 6, 5), normal(seed * 10 + 1, *encode_shape).clamp(-1, 1)
    posterior = model.encode(image).latent_dist
    save(name, config_of(model), golden.weights(model) | {
        "input.decode.latents": latents, "output.decode.sample": model.decode(latents).sample,
        "input.encode.sample": image,
        "output.encode.mean": posterior.mean, "output.encode.logvar": posterior.logvar})


def kl_tiled():
    """Tiles of 8 latents, overlap a quarter: 13 rows and 19 columns leave a last tile one latent wide."""
    tiling = {"tile_sample_min_size": 16, "tile_latent_min_size": 8, "tile_overlap_factor": 0.25}
    model = kl_model(70, (8, 12))
    latents, image = normal(700, 1, 4, 13, 19), normal(701, 1, 3, 26, 38).clamp(-1, 1)
    tensors = golden.weights(model) | {"input.decode.latents": latents, "input.encode.sample": image}
    tensors["output.decode.plain"] = model.decode(latents).sample
    tensors["output.encode.plain"] = model.encode(image).latent_dist.mean
    model.enable_tiling()
    for key, value in tiling.items():
        setattr(model, key, value)
    tensors["output.decode.tiled"] = model.decode(latents).sample
    tensors["output.encode.tiled"] = model.encode(image).latent_dist.mean
    save("autoencoder_kl_tiled", config_of(model, _tiling=tiling), tensors)


def wan_vae(name, seed, patch, **options):
    """17 frames decoded and 11 encoded (two too many), and the decoding again in tiles of 16 pixels every 12."""
    model = golden.enliven(AutoencoderKLWan(
        base_dim=6, z_dim=3, dim_mult=[1, 2, 2], num_res_blocks=1, temperal_downsample=[True, True],
        latents_mean=[0.1, -0.2, 0.3], latents_std=[1.5, 0.7, 1.1], scale_factor_spatial=4 * patch, **options), seed,
        matrix=1.7)
    latents, clip = normal(seed * 10, 1, 3, 5, 5, 7), normal(seed * 10 + 1, 1, 3, 11, 8 * patch, 12 * patch).clamp(-1, 1)
    posterior = model.encode(clip).latent_dist
    tensors = golden.weights(model) | {
        "input.decode.latents": latents, "output.decode.sample": model.decode(latents).sample,
        "input.encode.sample": clip, "output.encode.mean": posterior.mean, "output.encode.logvar": posterior.logvar}
    model.enable_tiling(16 * patch, 16 * patch, 12 * patch, 12 * patch)
    # Upstream takes the tiles' sides in pixels for those of what leaves the decoder, squares of pixels being channels.
    tensors["output.decode.tiled"] = model.decode(latents).sample
    save(name, config_of(model), tensors)


def tiny():
    model = golden.enliven(AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8), decoder_block_out_channels=(8, 8, 8), num_encoder_blocks=(1, 2, 1),
        num_decoder_blocks=(2, 1, 1)), 80, matrix=2.0)
    latents, image = 2 * normal(800, 1, 4, 6, 5), normal(801, 1, 3, 24, 20).clamp(-1, 1)
    save("autoencoder_tiny", config_of(model), golden.weights(model) | {
        "input.decode.latents": latents, "output.decode.sample": model.decode(latents).sample,
        "input.encode.sample": image, "output.encode.latents": model.encode(image).latents})


FIXTURES = {
    "t5_encoder": lambda: t5("t5_encoder", 10, d_ff=40, d_kv=12, num_heads=4, feed_forward_proj="gated-gelu"),
    "t5_encoder_relu": lambda: t5("t5_encoder_relu", 15, d_ff=40, d_kv=16, num_heads=2, feed_forward_proj="relu"),
    "umt5_encoder": lambda: t5(
        "umt5_encoder", 18, UMT5Config, UMT5EncoderModel, d_ff=40, d_kv=12, num_heads=4,
        feed_forward_proj="gated-gelu"),
    "pixart_sigma": pixart_sigma,
    "pixart_alpha": pixart_alpha,
    "dit": dit,
    "wan": wan,
    "autoencoder_kl": lambda: kl("autoencoder_kl", 50, (8, 12, 12)),
    "autoencoder_kl_plain": lambda: kl(
        "autoencoder_kl_plain", 60, (8, 8, 12), (1, 3, 22, 18), use_quant_conv=False, use_post_quant_conv=False,
        mid_block_add_attention=False),
    "autoencoder_kl_tiled": kl_tiled,
    "autoencoder_tiny": tiny,
    "autoencoder_kl_wan": lambda: wan_vae("autoencoder_kl_wan", 90, 1),
    "autoencoder_kl_wan_residual": lambda: wan_vae(
        "autoencoder_kl_wan_residual", 95, 2, decoder_base_dim=8, is_residual=True, patch_size=2, in_channels=12,
        out_channels=12),
}

if __name__ == "__main__":
    for fixture in sys.argv[1:] or FIXTURES:
        FIXTURES[fixture]()
