"""Golden trajectories of diffusers' schedulers, for SchedulersTests.

Run from the repository root:

    python Tests/SchedulersTests/Fixtures/make_fixtures.py

Made with Python 3.11, diffusers 0.42.1, torch 2.15.0, numpy 2.4.6, scipy 1.17.1. Writes one JSON file a scheduler
beside this script, and shared.json with what all cases use. Numbers are the shortest decimals that read back as the
same Float32.

Every case runs a toy model that both sides can compute in Float32,

    output = scaled_input * (0.3 + 0.0004 * timestep) + bias,

from initial noise times the scheduler's init_noise_sigma, over the case's steps. Stored are the timesteps, the sample
after every fifth step and after the last, and a clean sample noised to the level of one step. Stochastic schedulers
draw the shared noise tensors in order.
"""

import json
import pathlib
import warnings

import diffusers
import diffusers.schedulers as schedulers
import numpy as np
import torch

diffusers.logging.set_verbosity_error()
warnings.filterwarnings("ignore")

FOLDER = pathlib.Path(__file__).parent
SHAPE = [2, 2, 3, 4]
STEPS = 20

generator = torch.Generator().manual_seed(7)
INITIAL = torch.randn(SHAPE, generator=generator)
BIAS = torch.randn([SHAPE[0], 2 * SHAPE[1], *SHAPE[2:]], generator=generator) * 0.4
CLEAN = torch.randn(SHAPE, generator=generator)
NOISE = [torch.randn(SHAPE, generator=generator) for _ in range(STEPS + 1)]


def numbers(values):
    """Shortest decimals of Float32 values."""
    return [float(str(value)) for value in np.asarray(values, dtype=np.float32).reshape(-1)]


class Replay:
    """Stands in for randn_tensor and hands out the shared noise."""

    def __init__(self):
        self.index = 0

    def __call__(self, shape, **_):
        noise = NOISE[self.index]
        assert list(shape) == SHAPE
        self.index += 1
        return noise


def patch(scheduler, replay):
    module = __import__(type(scheduler).__module__, fromlist=["x"])
    if hasattr(module, "randn_tensor"):
        module.randn_tensor = replay


def run(name, class_name, configuration, steps=STEPS, timesteps=None, sigmas=None, options=None):
    options = options or {}
    cls = getattr(schedulers, class_name)
    scheduler = cls.from_config(configuration)
    replay = Replay()
    patch(scheduler, replay)
    keywords = {}
    if timesteps is not None:
        keywords["timesteps"] = timesteps
    elif sigmas is not None:
        keywords["sigmas"] = np.array(sigmas) if class_name == "UniPCMultistepScheduler" else sigmas
    else:
        keywords["num_inference_steps"] = steps
    if "mu" in options:
        keywords["mu"] = options["mu"]
    scheduler.set_timesteps(**keywords)
    times = scheduler.timesteps
    index = min(3, len(times) - 1)
    case = {"name": name, "configuration": {"_class_name": class_name, **configuration}}
    if len(set(times.tolist())) == len(times):
        add = getattr(scheduler, "add_noise", None) or scheduler.scale_noise
        noised = (
            scheduler.scale_noise(CLEAN, times[index : index + 1], NOISE[0])
            if hasattr(scheduler, "scale_noise")
            else add(CLEAN, NOISE[0], times[index : index + 1])
        )
        case["noised"] = {"index": index, "values": numbers(noised)}
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    step_keywords = {}
    if "eta" in options:
        step_keywords["eta"] = options["eta"]
    if "churn" in options:
        step_keywords |= {
            "s_churn": options["churn"],
            "s_tmin": options["churnMinimum"],
            "s_tmax": options["churnMaximum"],
            "s_noise": options["churnNoise"],
        }
    learned = configuration.get("variance_type") in ("learned", "learned_range")
    scale = torch.as_tensor(scheduler.init_noise_sigma if hasattr(scheduler, "init_noise_sigma") else 1.0)
    sample = INITIAL * scale.float()
    samples = []
    for i, t in enumerate(times):
        scaled = scheduler.scale_model_input(sample, t) if hasattr(scheduler, "scale_model_input") else sample
        factor = np.float32(0.3) + np.float32(0.0004) * np.float32(t.item())
        output = scaled * torch.tensor(factor) + BIAS[:, : SHAPE[1]]
        if learned:
            second = scaled * 0.0 + BIAS[:, SHAPE[1] :].abs()
            output = torch.cat([output, second], dim=1)
        sample = scheduler.step(output, t, sample, **step_keywords).prev_sample
        if (i + 1) % 5 == 0 or i + 1 == len(times):
            assert torch.isfinite(sample).all(), name
            samples.append({"after": i + 1, "values": numbers(sample)})
    case |= {
        "learnsVariance": learned,
        "initialNoiseScale": numbers(scale)[0],
        "timesteps": numbers(times),
        "samples": samples,
    }
    if timesteps is not None:
        case["givenTimesteps"] = timesteps
    elif sigmas is not None:
        case["givenSigmas"] = sigmas
    else:
        case["steps"] = steps
    case |= options
    return case


LATENT = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
ZERO = {**LATENT, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
TRAINED = {"num_train_timesteps": 12, "trained_betas": [round(0.01 * 1.3**i, 5) for i in range(12)]}
PREDICTIONS = ["epsilon", "sample", "v_prediction"]
SPACINGS = ["linspace", "leading", "trailing"]


def ddpm():
    name = "DDPMScheduler"
    for prediction in PREDICTIONS:
        yield run(prediction, name, {"prediction_type": prediction})
        yield run(f"{prediction} unclipped", name, {"prediction_type": prediction, "clip_sample": False})
    for variance in ["fixed_small_log", "fixed_large", "learned", "learned_range"]:
        yield run(variance, name, {"variance_type": variance})
    for schedule in ["scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace"]:
        yield run(schedule, name, {"beta_schedule": schedule})
    for spacing in SPACINGS:
        yield run(spacing, name, {**LATENT, "timestep_spacing": spacing, "steps_offset": 1}, steps=19)
    yield run("trained betas", name, TRAINED, steps=6)
    threshold = {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 3.0}
    yield run("thresholding", name, threshold)
    yield run("zero terminal", name, {**ZERO, "clip_sample": False})
    yield run("given timesteps", name, {}, timesteps=[999, 800, 430, 87, 50, 1, 0])


def ddim():
    name = "DDIMScheduler"
    for prediction in PREDICTIONS:
        yield run(prediction, name, {"prediction_type": prediction, "clip_sample": False})
        yield run(f"{prediction} clipped", name, {"prediction_type": prediction, "clip_sample_range": 1.5})
    for eta in [0.5, 1.0]:
        yield run(f"eta {eta}", name, {**LATENT, "clip_sample": False}, options={"eta": eta})
    for spacing in SPACINGS:
        configuration = {**LATENT, "timestep_spacing": spacing, "steps_offset": 1, "set_alpha_to_one": False}
        yield run(spacing, name, configuration, steps=19)
    yield run("cosine", name, {**COSINE, "clip_sample": False})
    yield run("trained betas", name, TRAINED, steps=6)
    yield run("zero terminal", name, {**ZERO, "clip_sample": False})
    threshold = {"thresholding": True, "dynamic_thresholding_ratio": 0.7, "sample_max_value": 2.5}
    yield run("thresholding", name, threshold)


def lcm():
    name = "LCMScheduler"
    for prediction in PREDICTIONS:
        yield run(prediction, name, {"prediction_type": prediction}, steps=8)
    yield run("four steps", name, {"original_inference_steps": 64, "clip_sample": True}, steps=4)
    yield run("thresholding", name, {"thresholding": True, "timestep_scaling": 5.0}, steps=3)
    yield run("given timesteps", name, {}, timesteps=[999, 759, 499, 259])
    yield run("one step", name, {"set_alpha_to_one": False}, steps=1)


def euler():
    name = "EulerDiscreteScheduler"
    for prediction in PREDICTIONS + ["original_sample"]:
        yield run(prediction, name, {**LATENT, "prediction_type": prediction})
    for spacing in SPACINGS:
        configuration = {**LATENT, "timestep_spacing": spacing, "steps_offset": 1, "prediction_type": "v_prediction"}
        yield run(spacing, name, configuration, steps=19)
    for sigmas in ["karras", "exponential", "beta"]:
        yield run(sigmas, name, {**LATENT, f"use_{sigmas}_sigmas": True})
        bounds = {"sigma_min": 0.02, "sigma_max": 60.0, "final_sigmas_type": "sigma_min"}
        yield run(f"{sigmas} bounded", name, {**LATENT, f"use_{sigmas}_sigmas": True, **bounds})
    yield run("log linear", name, {**LATENT, "interpolation_type": "log_linear"})
    continuous = {"timestep_type": "continuous", "prediction_type": "v_prediction", "use_karras_sigmas": True}
    yield run("continuous", name, continuous | {"sigma_min": 0.002, "sigma_max": 700.0})
    yield run("cosine", name, {**COSINE, "prediction_type": "v_prediction"})
    yield run("zero terminal", name, ZERO)
    churn = {"churn": 8.0, "churnMinimum": 0.05, "churnMaximum": 10.0, "churnNoise": 1.003}
    yield run("churn", name, LATENT, options=churn)
    yield run("given timesteps", name, LATENT, timesteps=[999, 800, 430, 87, 50, 1, 0])
    yield run("given sigmas", name, LATENT, sigmas=[14.5, 9.0, 4.0, 1.5, 0.5, 0.1, 0.0])


def dpm():
    name = "DPMSolverMultistepScheduler"
    for algorithm in ["dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"]:
        clean = algorithm.endswith("++")
        for order in [1, 2, 3]:
            if order == 3 and algorithm == "sde-dpmsolver":
                continue
            for solver in ["midpoint", "heun"] if order == 2 else ["midpoint"]:
                configuration = {**LATENT, "algorithm_type": algorithm, "solver_order": order, "solver_type": solver}
                configuration["final_sigmas_type"] = "zero" if clean else "sigma_min"
                yield run(f"{algorithm} {order} {solver}", name, configuration)
        for prediction in ["sample", "v_prediction"] + (["flow_prediction"] if clean else []):
            configuration = {"algorithm_type": algorithm, "prediction_type": prediction}
            configuration["final_sigmas_type"] = "zero" if clean else "sigma_min"
            if prediction == "flow_prediction":
                configuration |= {"use_flow_sigmas": True, "flow_shift": 3.0}
            yield run(f"{algorithm} {prediction}", name, configuration)
    pixart = {"algorithm_type": "dpmsolver++", "lambda_min_clipped": -float("inf"), "lower_order_final": True}
    yield run("PixArt-Sigma", name, pixart | {"variance_type": None, "euler_at_final": False})
    for steps in [1, 2, 5, 14]:
        yield run(f"{steps} steps order 3", name, {**LATENT, "solver_order": 3}, steps=steps)
    yield run("short, full order", name, {"lower_order_final": False, "final_sigmas_type": "sigma_min"}, steps=10)
    euler = {"lower_order_final": False, "final_sigmas_type": "sigma_min", "euler_at_final": True}
    yield run("euler at final", name, euler)
    for spacing in SPACINGS:
        configuration = {**LATENT, "timestep_spacing": spacing, "steps_offset": 1}
        yield run(spacing, name, configuration, steps=19)
    clipped = {**COSINE, "lambda_min_clipped": -5.1}
    yield run("clipped cosine", name, clipped)
    yield run("clipped trailing", name, {**clipped, "timestep_spacing": "trailing"})
    for key in ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas"]:
        yield run(key, name, {**LATENT, key: True})
        yield run(f"{key} cosine", name, {**COSINE, key: True, "prediction_type": "v_prediction"})
    yield run("karras bounded", name, {**LATENT, "use_karras_sigmas": True, "sigma_min": 0.05, "sigma_max": 20.0})
    threshold = {"thresholding": True, "dynamic_thresholding_ratio": 0.87, "sample_max_value": 2.0}
    yield run("thresholding", name, threshold)
    lowest = {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}
    yield run("thresholding noise", name, threshold | lowest)
    yield run("zero terminal", name, ZERO)
    dynamic = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "use_dynamic_shifting": True}
    yield run("dynamic shift", name, dynamic, options={"mu": 0.9})
    yield run("given timesteps", name, LATENT, timesteps=[999, 800, 430, 87, 50, 1])


def unipc():
    name = "UniPCMultistepScheduler"
    wan = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    for solver in ["bh1", "bh2"]:
        for order in [1, 2, 3]:
            for clean in [True, False]:
                configuration = {**LATENT, "solver_type": solver, "solver_order": order, "predict_x0": clean}
                configuration["final_sigmas_type"] = "sigma_min"
                yield run(f"{solver} {order} {'clean' if clean else 'noise'}", name, configuration)
    for prediction in ["sample", "v_prediction"]:
        yield run(prediction, name, {"prediction_type": prediction})
        noise = {"prediction_type": prediction, "predict_x0": False, "final_sigmas_type": "sigma_min"}
        yield run(f"{prediction} noise", name, noise)
    for order in [2, 3]:
        yield run(f"Wan order {order}", name, {**wan, "flow_shift": 3.0, "solver_order": order})
    yield run("Wan 5 steps", name, {**wan, "flow_shift": 5.0}, steps=5)
    yield run("flow unshifted", name, wan)
    yield run("flow karras", name, {**wan, "use_karras_sigmas": True})
    yield run("flow dynamic", name, {**wan, "use_dynamic_shifting": True}, options={"mu": 1.1})
    linear = {"use_dynamic_shifting": True, "time_shift_type": "linear"}
    yield run("flow dynamic linear", name, {**wan, **linear}, options={"mu": 1.8})
    yield run("flow terminal", name, {**wan, "shift_terminal": 0.1, "flow_shift": 2.0})
    yield run("given sigmas", name, {**wan, "flow_shift": 2.0}, sigmas=[1.0, 0.9, 0.7, 0.5, 0.3, 0.1])
    for steps in [1, 2, 3]:
        yield run(f"{steps} steps order 3", name, {**LATENT, "solver_order": 3}, steps=steps)
    yield run("full order", name, {"lower_order_final": False, "final_sigmas_type": "sigma_min"})
    yield run("corrector off", name, {**LATENT, "disable_corrector": [0, 1, 7]})
    for spacing in SPACINGS:
        configuration = {**LATENT, "timestep_spacing": spacing, "steps_offset": 1}
        yield run(spacing, name, configuration, steps=19)
    for sigmas in ["karras", "exponential", "beta"]:
        yield run(sigmas, name, {**LATENT, f"use_{sigmas}_sigmas": True})
    karras = {"use_karras_sigmas": True, "sigma_min": 0.05, "sigma_max": 20.0, "final_sigmas_type": "sigma_min"}
    yield run("karras bounded", name, {**LATENT, **karras})
    threshold = {"thresholding": True, "dynamic_thresholding_ratio": 0.87, "sample_max_value": 2.0}
    yield run("thresholding", name, threshold)
    yield run("zero terminal", name, ZERO)
    yield run("cosine", name, COSINE)


def flow():
    name = "FlowMatchEulerDiscreteScheduler"
    yield run("plain", name, {})
    yield run("HunyuanVideo", name, {"shift": 7.0})
    flux = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15, "shift": 3.0}
    given = np.linspace(1.0, 1 / STEPS, STEPS).tolist()
    yield run("FLUX dev", name, flux, sigmas=given, options={"mu": 0.83})
    yield run("dynamic", name, flux, options={"mu": 0.83})
    ltx = {"use_dynamic_shifting": True, "base_shift": 0.95, "max_shift": 2.05, "shift_terminal": 0.1}
    yield run("LTX", name, ltx, sigmas=given, options={"mu": 1.4})
    yield run("linear shift", name, {"use_dynamic_shifting": True, "time_shift_type": "linear"}, options={"mu": 2.0})
    for sigmas in ["karras", "exponential", "beta"]:
        yield run(sigmas, name, {"shift": 3.0, f"use_{sigmas}_sigmas": True})
    yield run("stochastic", name, {"shift": 3.0, "stochastic_sampling": True})
    yield run("inverted", name, {"invert_sigmas": True})
    yield run("given timesteps", name, {"shift": 2.0}, timesteps=[1000.0, 800.5, 600.0, 250.0, 10.0])
    yield run("one step", name, {"shift": 1.0}, steps=1)


def write(name, content):
    text = json.dumps(content, separators=(",", ":"))
    (FOLDER / f"{name}.json").write_text(text.replace('{"name"', '\n{"name"') + "\n")


write(
    "shared",
    {
        "shape": SHAPE,
        "initial": numbers(INITIAL),
        "bias": numbers(BIAS[:, : SHAPE[1]]),
        "variance": numbers(BIAS[:, SHAPE[1] :].abs()),
        "clean": numbers(CLEAN),
        "noise": [numbers(noise) for noise in NOISE],
    },
)
for make in [ddpm, ddim, lcm, euler, dpm, unipc, flow]:
    write(make.__name__, list(make()))
