"""Whole toy pipelines in the diffusers layout, and what diffusers makes of them.

    python Tests/PipelineTests/Fixtures/make_pipelines.py [toy-pixart-sigma] [toy-pixart-alpha] [toy-dit]

run from the repository root (seen with Python 3.11, torch 2.15.0, diffusers 0.42.1, transformers 5.23.0,
sentencepiece 0.2.3). It rewrites `<name>/`, then `expected/<case>.safetensors`, from the saved folder.

The scheduler files are written by hand: few keys, the rest left to the class's defaults. PixArt's is the published
text, with `-Infinity`, which JSON does not have; DiT's has the published values, its choice of keys is from memory.
`toy-dit` names the old class `Transformer2DModel`, as published, and its blocks hold equal copies of the timestep and
class embedders, as converted checkpoints do.

Keys of an expected file (B images, S transformer calls, 2B rows with guidance, B without):

    input.noise               [B, C, h, w] drawn by torch.Generator("cpu").manual_seed(seed)
    input.ids, input.mask     [2B, L] negative prompt first, then prompt (only the prompt without guidance)
    input.class_labels        [B] (DiT)
    output.prompt_embeds      [2B, L, D] the text encoder's result in the order of the ids
    output.timesteps          [S] int64
    output.first              [2B, 8, h, w] the transformer's first result, on the noise
    output.trajectory         [S, B, C, h, w] latents after every step (only where the metadata says "trajectory")
    output.latents            [B, C, h, w] final latents, before division by the scaling factor
    output.decoded            [B, 3, H, W] the autoencoder's raw result (not for the binned case)
    output.image              [B, H, W, 3] uint8; for the binned case every fourth pixel of every fourth row

Metadata `call` holds every parameter of the call, `pipeline` the folder, `float64` the largest difference between
these latents and those of the same call in float64 (from the same noise), relative to their largest magnitude: what
rounding alone does to this trajectory, so the least a comparison can ask for.
"""

import copy
import io
import json
import logging
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))
import golden  # noqa: E402

import diffusers  # noqa: E402
import sentencepiece  # noqa: E402
from diffusers import (  # noqa: E402
    AutoencoderKL, DDIMScheduler, DiTPipeline, DiTTransformer2DModel, DPMSolverMultistepScheduler,
    PixArtAlphaPipeline, PixArtSigmaPipeline, PixArtTransformer2DModel)
from transformers import T5Config, T5EncoderModel, T5Tokenizer  # noqa: E402

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
torch.set_grad_enabled(False)
warnings.filterwarnings("ignore")
diffusers.utils.logging.disable_progress_bar()
logging.disable(logging.WARNING)

COMMAND = "python Tests/PipelineTests/Fixtures/make_pipelines.py"

DPM_SOLVER = """{
  "_class_name": "DPMSolverMultistepScheduler",
  "_diffusers_version": "0.22.0.dev0",
  "algorithm_type": "dpmsolver++",
  "beta_end": 0.02,
  "beta_schedule": "linear",
  "beta_start": 0.0001,
  "dynamic_thresholding_ratio": 0.995,
  "euler_at_final": false,
  "lambda_min_clipped": -Infinity,
  "lower_order_final": true,
  "num_train_timesteps": 1000,
  "prediction_type": "epsilon",
  "sample_max_value": 1.0,
  "solver_order": 2,
  "solver_type": "midpoint",
  "steps_offset": 0,
  "thresholding": false,
  "timestep_spacing": "linspace",
  "trained_betas": null,
  "use_karras_sigmas": false,
  "use_lu_lambdas": false,
  "variance_type": null
}
"""

DDIM = """{
  "_class_name": "DDIMScheduler",
  "_diffusers_version": "0.12.0.dev0",
  "beta_end": 0.02,
  "beta_schedule": "linear",
  "beta_start": 0.0001,
  "clip_sample": false,
  "num_train_timesteps": 1000,
  "prediction_type": "epsilon",
  "set_alpha_to_one": true,
  "steps_offset": 0,
  "trained_betas": null
}
"""

LABELS = {0: "tench, Tinca tinca", 1: "goldfish, Carassius auratus", 207: "golden retriever", 360: "otter",
          417: "balloon", 999: "toilet tissue, toilet paper, bathroom tissue"}

# Components


def tokenizer():
    """A unigram sentencepiece of some seventy pieces, trained on captions made up here."""
    colours, things = ["red", "green", "blue", "yellow", "white"], ["cat", "house", "boat", "apple", "tree", "lamp"]
    places = ["on a table", "in the rain", "near the sea", "under a wide sky", "at night", "of old wood"]
    captions = [f"{a} {c} {t} {p}" for a in ("a", "the small", "one large", "a painting of a")
                for c in colours for t in things for p in places]
    captions += ["blurry, low quality, ugly", "deformed hands; extra fingers!", "photo 4k (8 x 8), film grain?"] * 20
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(captions), model_writer=model, model_type="unigram", vocab_size=120,
        hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, normalization_rule_name="identity",
        num_threads=1, minloglevel=2)
    folder = Path(tempfile.mkdtemp())
    (folder / "spiece.model").write_bytes(model.getvalue())
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "T5Tokenizer", "extra_ids": 0, "eos_token": "</s>", "pad_token": "<pad>",
        "unk_token": "<unk>", "model_max_length": 300}))
    return T5Tokenizer.from_pretrained(folder), model.getvalue()


def text_encoder(vocabulary, seed):
    config = T5Config(
        vocab_size=vocabulary, d_model=24, d_ff=32, d_kv=10, num_heads=3, num_layers=2, feed_forward_proj="gated-gelu",
        is_encoder_decoder=False, use_cache=False, dropout_rate=0.0)
    model = golden.enliven(T5EncoderModel(config), seed)
    g = torch.Generator().manual_seed(seed + 1)
    for key, p in model.named_parameters():
        if "relative_attention_bias" in key or key == "shared.weight":
            p.copy_(torch.randn(p.shape, generator=g))
        elif key.endswith("SelfAttention.q.weight"):
            p.mul_(0.6)
    return model


def autoencoder(seed, channels, scaling):
    n = len(channels)
    return golden.enliven(AutoencoderKL(
        block_out_channels=channels, down_block_types=("DownEncoderBlock2D",) * n,
        up_block_types=("UpDecoderBlock2D",) * n, layers_per_block=1, norm_num_groups=4, latent_channels=4,
        sample_size=64, scaling_factor=scaling), seed)


def transformer(seed, kind=PixArtTransformer2DModel, **options):
    return golden.enliven(kind(in_channels=4, out_channels=8, num_layers=2, patch_size=2, **options), seed)


def settle(model, scheduler, seed, draw, shapes=((8, 8),), steps=1000):
    """Teaches `model` a little denoising, for random weights would throw the latents about by the hundreds.

    `draw(count, generator)` gives the conditions of a forward and the mean colours [count, 4] they stand for.
    """
    g, alphas = torch.Generator().manual_seed(seed), scheduler.alphas_cumprod
    optimizer = torch.optim.Adam(model.requires_grad_(True).parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    with torch.enable_grad():
        for step in range(steps):
            conditions, means = draw(16, g)
            t = (1000 * (1 - torch.rand(16, generator=g) ** 4)).long().clamp(max=999)  # mostly late ones
            clean = means[:, :, None, None] + 0.5 * torch.randn(16, 4, *shapes[step % len(shapes)], generator=g)
            noise, kept = torch.randn(clean.shape, generator=g), alphas[t][:, None, None, None]
            noisy = kept.sqrt() * clean + (1 - kept).sqrt() * noise
            loss = (model(noisy, timestep=t, return_dict=False, **conditions)[0][:, :4] - noise).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    print(f"  settled at a noise error of {loss.item():.3f}")
    return model.requires_grad_(False)


PIXART = dict(num_attention_heads=2, attention_head_dim=12, cross_attention_dim=24, caption_channels=24)


def save_pixart(name, kind, model, vae, seed):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    words, pieces = tokenizer()
    encoder = text_encoder(len(words), seed + 1)
    captions = words(["", *(f"a {c} {t}" for c in ("red", "green", "blue", "yellow", "white") for t in ("cat", "lamp")),
                      "blurry, low quality", "a painting of a blue boat, near the sea", "the small house of old wood"],
                     padding="max_length", max_length=48, return_tensors="pt")
    embeds, means = encoder(**captions)[0], torch.randn(14, 4, generator=torch.Generator().manual_seed(seed))

    def draw(count, g):
        n = torch.randint(0, 14, (count,), generator=g)
        conditions = dict(encoder_hidden_states=embeds[n], encoder_attention_mask=captions.attention_mask[n])
        if model.config.use_additional_conditions:
            conditions["added_cond_kwargs"] = dict(
                resolution=torch.randint(4, 9, (count, 2), generator=g) * 8.0,
                aspect_ratio=torch.rand(count, 1, generator=g) + 0.5)
        return conditions, means[n]

    settle(model, DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02), seed, draw, ((8, 8), (6, 12), (10, 4)))
    kind(tokenizer=words, text_encoder=encoder, vae=vae, transformer=model,
         scheduler=DPMSolverMultistepScheduler()).save_pretrained(folder)
    (folder / "tokenizer" / "spiece.model").write_bytes(pieces)
    (folder / "scheduler" / "scheduler_config.json").write_text(DPM_SOLVER)
    return folder


def toy_sigma():
    model = transformer(110, **PIXART, sample_size=32, interpolation_scale=0.5, use_additional_conditions=False)
    return save_pixart("toy-pixart-sigma", PixArtSigmaPipeline, model, autoencoder(112, (8, 8, 8, 12), 0.13025), 110)


def toy_alpha():
    model = transformer(120, **PIXART, sample_size=128, use_additional_conditions=True)
    return save_pixart("toy-pixart-alpha", PixArtAlphaPipeline, model, autoencoder(122, (8, 8, 12), 0.18215), 120)


def toy_dit():
    folder = HERE / "toy-dit"
    shutil.rmtree(folder, ignore_errors=True)
    model = transformer(130, DiTTransformer2DModel, num_attention_heads=3, attention_head_dim=8, sample_size=8,
                        norm_eps=1e-5, num_embeds_ada_norm=1000)
    labels = torch.tensor([*LABELS, 1000])  # 1000 is the null class: DiTPipeline has that number built in
    means = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(130))

    def draw(count, g):
        n = torch.randint(0, len(labels), (count,), generator=g)
        return dict(class_labels=labels[n]), means[n]

    for block in model.transformer_blocks[1:]:
        block.norm1.emb = model.transformer_blocks[0].norm1.emb  # trained as one, saved as equal copies
    settle(model, DDIMScheduler(beta_start=0.0001, beta_end=0.02), 130, draw)
    for block in model.transformer_blocks[1:]:
        block.norm1.emb = copy.deepcopy(block.norm1.emb)
    DiTPipeline(model, autoencoder(132, (8, 12), 0.18215), DDIMScheduler()).save_pretrained(folder)
    (folder / "scheduler" / "scheduler_config.json").write_text(DDIM)
    for file, change in (("model_index.json", {"transformer": ["diffusers", "Transformer2DModel"],
                                               "id2label": {str(k): v for k, v in LABELS.items()}}),
                         ("transformer/config.json", {"_class_name": "Transformer2DModel"})):
        text = json.loads((folder / file).read_text()) | change
        (folder / file).write_text(json.dumps(text, indent=2, sort_keys=True) + "\n")
    return folder


# Calls


class Watch:
    """Keeps what passes through a pipeline's parts during one call."""

    def __init__(self, pipe):
        self.pipe, self.ids, self.masks, self.embeds = pipe, [], [], []
        self.calls, self.steps, self.decoded = [], [], []
        self.hooks = [pipe.transformer.register_forward_hook(self.call, with_kwargs=True)]
        if hasattr(pipe, "text_encoder"):
            self.hooks.append(pipe.text_encoder.register_forward_hook(self.text, with_kwargs=True))
        self.decode, self.step = pipe.vae.decode, pipe.scheduler.step
        pipe.vae.decode, pipe.scheduler.step = self.decoding, self.stepping

    def text(self, _, args, kwargs, out):
        self.ids.insert(0, args[0])  # the pipeline encodes the prompt first and the negative prompt second,
        self.masks.insert(0, kwargs["attention_mask"])  # and hands them over the other way round
        self.embeds.insert(0, out[0])

    def call(self, _, args, kwargs, out):
        sample = out[0] if isinstance(out, tuple) else out.sample
        self.calls.append((args[0].clone(), kwargs["timestep"].clone(), sample.clone()))

    def stepping(self, *args, **kwargs):
        out = self.step(*args, **kwargs)
        self.steps.append((out[0] if isinstance(out, tuple) else out.prev_sample).clone())
        return out

    def decoding(self, *args, **kwargs):
        out = self.decode(*args, **kwargs)
        self.decoded.append((out[0] if isinstance(out, tuple) else out.sample).clone())
        return out

    def stop(self):
        for h in self.hooks:
            h.remove()
        self.pipe.vae.decode, self.pipe.scheduler.step = self.decode, self.step


def run(folder, kind, call, dtype=torch.float32, noise=None):
    pipe = kind.from_pretrained(folder, dtype=dtype, low_cpu_mem_usage=False)
    pipe.set_progress_bar_config(disable=True)
    watch, arguments = Watch(pipe), {k: v for k, v in call.items() if k != "seed"}
    if noise is not None:  # randn_tensor would draw other numbers in another type
        original, module = sys.modules[kind.__module__].randn_tensor, sys.modules[kind.__module__]
        module.randn_tensor = lambda *_, **__: noise.to(dtype)
    images = pipe(**arguments, generator=torch.Generator("cpu").manual_seed(call["seed"]), output_type="np").images
    if noise is not None:
        module.randn_tensor = original
    watch.stop()
    return watch, torch.from_numpy(images)


def expect(name, folder, kind, call, keep=()):
    watch, images = run(folder, kind, call)
    count = len(images)
    noise, final = watch.calls[0][0][:count], watch.steps[-1][:count]
    exact, _ = run(folder, kind, call, torch.float64, noise)
    tensors = {
        "input.noise": noise, "output.timesteps": torch.stack([c[1][0] for c in watch.calls]).long(),
        "output.first": watch.calls[0][2], "output.latents": final,
    }
    if watch.ids:
        tensors |= {"input.ids": torch.cat(watch.ids), "input.mask": torch.cat(watch.masks),
                    "output.prompt_embeds": torch.cat(watch.embeds)}
    else:
        tensors["input.class_labels"] = torch.tensor(call["class_labels"])
    if "trajectory" in keep:
        tensors["output.trajectory"] = torch.stack([s[:count] for s in watch.steps])
    pixels = (images * 255).round().to(torch.uint8)
    if "sparse" in keep:
        tensors["output.image"] = pixels[:, ::4, ::4].contiguous()
    else:
        tensors |= {"output.image": pixels, "output.decoded": watch.decoded[0]}
    drift = ((exact.steps[-1][:count] - final).abs().max() / final.abs().max()).item()
    path = HERE / "expected" / f"{name}.safetensors"
    golden.write(path, tensors, {
        "call": json.dumps(call, sort_keys=True), "pipeline": folder.name, "class": kind.__name__,
        "keep": json.dumps(list(keep)), "float64": f"{drift:.3g}", "image_size": json.dumps(list(images.shape[1:3])),
        "versions": golden.versions(), "command": COMMAND})
    saturated = ((pixels == 0) | (pixels == 255)).float().mean()
    print(f"{name}: float64 differs by {drift:.2g}; saturated pixels {saturated:.2f}")
    golden.check(path, tensors, high=20)


TEXT = {"num_inference_steps": 20, "use_resolution_binning": False, "clean_caption": False, "max_sequence_length": 24,
        "negative_prompt": ""}
CASES = {
    "toy-pixart-sigma": (toy_sigma, PixArtSigmaPipeline, {
        "sigma-square": (TEXT | dict(prompt="a red cat on a table", guidance_scale=4.5, height=64, width=64, seed=0),
                         ["trajectory"]),
        "sigma-wide": (TEXT | dict(prompt="  A painting of a Blue boat, near the sea ", guidance_scale=4.5, height=48,
                                   width=96, seed=1, negative_prompt="blurry, low quality"), []),
        "sigma-tall": (TEXT | dict(prompt="one large tree under a wide sky", guidance_scale=1.0, height=80, width=32,
                                   seed=2), []),
        "sigma-long-prompt": (TEXT | dict(
            prompt="the small white house of old wood in the rain at night near the sea under a wide sky",
            guidance_scale=3.0, height=64, width=64, seed=3, max_sequence_length=12, num_inference_steps=5), []),
        "sigma-two-prompts": (TEXT | dict(
            prompt=["a green apple", "photo of a yellow lamp at night ☃"], guidance_scale=4.5, height=32, width=48,
            seed=4, num_inference_steps=8, max_sequence_length=300), []),
        "sigma-binned": (TEXT | dict(prompt="a white boat in the rain", guidance_scale=4.5, height=200, width=300,
                                     seed=5, use_resolution_binning=True), ["sparse"]),
    }),
    "toy-pixart-alpha": (toy_alpha, PixArtAlphaPipeline, {
        "alpha-wide": (TEXT | dict(prompt="a red cat on a table", guidance_scale=4.5, height=32, width=64, seed=0,
                                   max_sequence_length=120), ["trajectory"]),
        "alpha-unguided": (TEXT | dict(prompt="the small green lamp at night", guidance_scale=1.0, height=48, width=48,
                                       seed=1), []),
    }),
    "toy-dit": (toy_dit, DiTPipeline, {
        "dit-guided": (dict(class_labels=[207, 1], guidance_scale=4.0, num_inference_steps=20, seed=0), ["trajectory"]),
        "dit-unguided": (dict(class_labels=[360, 999], guidance_scale=1.0, num_inference_steps=20, seed=1), []),
    }),
}

if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        make, kind, cases = CASES[name]
        folder = make()
        print(name, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")
        for case, (call, keep) in cases.items():
            expect(case, folder, kind, call, keep)
