"""The peers of the comparison in one process that stays: questions come as lines of JSON, seconds go back as lines.

    echo '{"engine": "torch", "op": "attention", "heads": 12, "tokens": 8192, "size": 128, "dtype": "bfloat16"}' |
        python Benchmarks/peers.py --threads 2

A question is prepared (and run once to warm up) when it is first asked; asked again, it is only run. Engines: `torch`
(scaled_dot_product_attention, diffusers' transformers), `flex` (flex_attention, compiled), `openvino`. Seen with
torch 2.15.0, diffusers 0.42.1, OpenVINO 2026.4.1 and nncf 3.4.0.
"""

import argparse
import gc
import json
import os
import sys
import time

import numpy
import torch
import torch.nn.functional as F

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def attention_inputs(q):
    generator = torch.Generator().manual_seed(0)
    shape = (1, q["heads"], q["tokens"], q["size"])
    return [torch.randn(shape, generator=generator) for _ in range(3)]


def torch_attention(q):
    inputs = [x.to(DTYPES[q["dtype"]]) for x in attention_inputs(q)]
    return lambda: F.scaled_dot_product_attention(*inputs)


def flex_attention(q):
    """Blocks of 128 kept by chance, the diagonal always."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention as flex
    inputs, blocks = [x.to(DTYPES[q["dtype"]]) for x in attention_inputs(q)], q["tokens"] // 128
    chance = (q["density"] * blocks - 1) / (blocks - 1)
    kept = torch.rand(blocks, blocks, generator=torch.Generator().manual_seed(0)) < chance
    kept |= torch.eye(blocks, dtype=torch.bool)
    mask = create_block_mask(lambda b, h, i, j: kept[i // 128, j // 128], None, None, q["tokens"], q["tokens"],
                             device="cpu", BLOCK_SIZE=128)
    compiled = torch.compile(flex)
    return lambda: compiled(*inputs, block_mask=mask)


class Forward(torch.nn.Module):
    """A diffusers transformer as a function of latents, text and time."""

    def __init__(self, model, **constants):
        super().__init__()
        self.model, self.constants = model, constants

    def forward(self, latents, text, time):
        return self.model(latents, encoder_hidden_states=text, timestep=time, return_dict=False, **self.constants)[0]


def transformer(q, name, channels, text_size, **constants):
    """The class, and what makes inputs for it."""
    import diffusers
    model = getattr(diffusers, name).from_pretrained(q["folder"], subfolder="transformer", torch_dtype=torch.float32)
    inputs = lambda shape: (torch.randn(1, channels, *shape), torch.randn(1, q["text"], getattr(model.config, text_size)),
                            torch.tensor([500.0]))
    return Forward(model, **constants).eval(), inputs


def pixart(q):
    return transformer(q, "PixArtTransformer2DModel", 4, "caption_channels",
                       added_cond_kwargs={"resolution": None, "aspect_ratio": None})


def wan(q):
    return transformer(q, "WanTransformer3DModel", 16, "text_dim")


MODELS = {"pixart": pixart, "wan": wan}


def torch_transformer(q):
    dtype = DTYPES[q["dtype"]]
    model, inputs = MODELS[q["op"]](q)
    model, inputs = model.to(dtype), [x.to(dtype) for x in inputs(q["shape"])]
    return lambda: model(*inputs)


def openvino_core(q):
    import openvino
    return openvino, openvino.Core(), {
        "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": q["threads"],
        "INFERENCE_PRECISION_HINT": "f32" if q["dtype"] == "float32" else "bf16"}


def openvino_attention(q):
    openvino, core, options = openvino_core(q)
    import openvino.opset13 as ops
    shape = [1, q["heads"], q["tokens"], q["size"]]
    inputs = [ops.parameter(shape, dtype=numpy.float32) for _ in range(3)]
    model = openvino.Model([ops.scaled_dot_product_attention(*inputs)], inputs)
    request = core.compile_model(model, "CPU", options).create_infer_request()
    values = [x.numpy() for x in attention_inputs(q)]
    return lambda: request.infer(values, share_inputs=True, share_outputs=True)


def openvino_transformer(q):
    """Converted from the diffusers class."""
    openvino, core, options = openvino_core(q)
    cache = os.path.join(q["cache"], f"{q['op']}-{'x'.join(map(str, q['shape']))}-{q['text']}-float.xml")
    if not os.path.exists(cache):
        os.makedirs(q["cache"], exist_ok=True)
        model, inputs = MODELS[q["op"]](q)
        values = inputs(q["shape"])
        converted = openvino.convert_model(model, example_input=values, input=[list(x.shape) for x in values])
        del model, values
        gc.collect()
        openvino.save_model(converted, cache, compress_to_fp16=False)
        del converted
    compiled = core.compile_model(core.read_model(cache), "CPU", options)
    return openvino_request(compiled, [None, None, 500])


def openvino_request(compiled, constants):
    """Runs a compiled model on noise, or on a constant where one is given."""
    generator = numpy.random.default_rng(0)
    values = [generator.standard_normal([int(d) for d in port.shape]).astype(numpy.float32) for port in compiled.inputs]
    for value, constant in zip(values, constants):
        if constant is not None:
            value[:] = constant
    request = compiled.create_infer_request()
    return lambda: request.infer(values, share_inputs=True, share_outputs=True)


class PixArtBlocks(torch.nn.Module):
    """The blocks of PixArt-Sigma without what is before and after them: tokens, text and six modulations."""

    def __init__(self, model):
        super().__init__()
        self.blocks = model.transformer_blocks

    def forward(self, tokens, text, modulation):
        for block in self.blocks:
            tokens = block(tokens, encoder_hidden_states=text, timestep=modulation)
        return tokens


def openvino_int8(q):
    """Quantised by nncf after training, with its transformer preset.

    Its statistics of 4,096 tokens take more than 24 GB, so the model is the blocks alone (which leaves out the
    embeddings, the last layer and the caption's projection: the peer's advantage), for any number of tokens, and the
    statistics are of few.
    """
    openvino, core, options = openvino_core(q)
    tokens = q["shape"][0] * q["shape"][1] // 4
    cache = os.path.join(q["cache"], "pixart-blocks-int8.xml")
    if not os.path.exists(cache):
        import diffusers
        import nncf
        os.makedirs(q["cache"], exist_ok=True)
        model = diffusers.PixArtTransformer2DModel.from_pretrained(q["folder"], subfolder="transformer", torch_dtype=torch.float32)
        size = model.config.num_attention_heads * model.config.attention_head_dim
        sample = lambda: (torch.randn(1, 64, size), torch.randn(1, q["text"], size), torch.randn(1, 6 * size))
        values = sample()
        converted = openvino.convert_model(
            PixArtBlocks(model).eval(), example_input=values, input=[[1, -1, size], [1, -1, size], [1, 6 * size]])
        del model, values
        gc.collect()
        # Corrected biases would take memory and minutes, and change no time.
        converted = nncf.quantize(
            converted, nncf.Dataset([[x.numpy() for x in sample()] for _ in range(2)]), model_type=nncf.ModelType.TRANSFORMER,
            subset_size=2, advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True))
        openvino.save_model(converted, cache, compress_to_fp16=False)
        del converted
    model = core.read_model(cache)
    model.reshape({port: [1, length, int(port.partial_shape[2].get_length())] if length else [1, int(port.partial_shape[1].get_length())]
                   for port, length in zip(model.inputs, (tokens, q["text"], 0))})
    return openvino_request(core.compile_model(model, "CPU", options), [])


def torch_decoder(q):
    import diffusers
    kind = getattr(diffusers, q["class"])
    model = kind.from_pretrained(q["folder"], subfolder="vae", torch_dtype=DTYPES[q["dtype"]]).eval()
    latents = torch.randn(*q["shape"]).to(DTYPES[q["dtype"]])
    return lambda: model.decode(latents).sample


def torch_text(q):
    from transformers import T5EncoderModel
    model = T5EncoderModel.from_pretrained(q["folder"], subfolder="text_encoder", dtype=DTYPES[q["dtype"]]).eval()
    ids = torch.randint(2, 30000, (1, q["tokens"]))
    return lambda: model(input_ids=ids, attention_mask=torch.ones_like(ids))


MAKERS = {
    ("torch", "attention"): torch_attention, ("flex", "attention"): flex_attention,
    ("openvino", "attention"): openvino_attention, ("torch", "decode"): torch_decoder, ("torch", "text"): torch_text,
    **{("torch", op): torch_transformer for op in MODELS}, **{("openvino", op): openvino_transformer for op in MODELS},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    answers, channel = {}, os.dup(1)
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        question = {"threads": args.threads, **json.loads(line)}
        key = json.dumps(question, sort_keys=True)
        with torch.inference_mode():
            if question.get("forget"):
                answers.clear()
                os.write(channel, b"{}\n")
                continue
            if key not in answers:
                maker = MAKERS[question["engine"], question["op"]]
                if question.get("dtype") == "int8":
                    maker = {"pixart": openvino_int8}[question["op"]]
                answers[key] = maker(question)
                answers[key]()
            began = time.perf_counter()
            answers[key]()
        os.write(channel, (json.dumps({"seconds": time.perf_counter() - began}) + "\n").encode())


if __name__ == "__main__":
    main()
