"""Every adapted pipeline against diffusers' own call of it: the same seeds give the same images."""

import json
import os

import numpy as np
import pytest

torch = pytest.importorskip("torch")
os.environ["HF_HUB_OFFLINE"] = "1"

import diffusers  # noqa: E402
import tiny_pipelines  # noqa: E402

from collect.models import pipelines  # noqa: E402
from collect.models import profiling as counting  # noqa: E402
from collect.models.pipelines import loading, parts  # noqa: E402
from collect.models.tasks import Classes, Prompts, Unconditional, Upscale, prompts  # noqa: E402
from collect.sampling import loop  # noqa: E402
from collect.sampling.loop import SamplingConfig  # noqa: E402
from scalinglaws.schema import InputError  # noqa: E402

LINES = ("a red cat", "photo of a blue house", "a dog")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (48, 40, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return tuple(sorted(folder.glob("*.png")))


def task_of(name, pictures):
    return {
        "unconditional": Unconditional(),
        "class": Classes(7),
        "text": Prompts(LINES),
        "upscale": Upscale(pictures, 32, prompt="a photo"),
    }[name]


def stock(pipe, task, sampling, n, resolution):
    """diffusers' own call for samples 0..n-1: uint8 [n, 3, h, w]."""
    conditions = task.conditions(range(n))
    options = {"num_inference_steps": sampling.steps, "generator": loop.generators(sampling.seed, range(n))}
    kind = type(pipe).__name__
    if kind in ("DDIMPipeline", "DDPMPipeline"):
        options |= {"batch_size": n}
    if kind == "DiTPipeline":
        options |= {"class_labels": conditions["classes"].tolist(), "guidance_scale": sampling.guidance}
    if "prompts" in conditions and kind != "LDMSuperResolutionPipeline":
        options |= {"prompt": conditions["prompts"], "guidance_scale": sampling.guidance}
    if kind == "PixArtAlphaPipeline":
        options |= {"use_resolution_binning": False, "clean_caption": False}
    if kind == "FluxPipeline":
        options |= {"height": resolution, "width": resolution, "max_sequence_length": 512}
    if kind == "LDMSuperResolutionPipeline":
        options |= {"image": parts.to_model(conditions["small"])}
    made = pipe(output_type="np", **options).images
    return torch.from_numpy((made * 255).round().astype("uint8")).permute(0, 3, 1, 2)


GUIDED = [(name, w) for name in tiny_pipelines.KINDS for w in (1.0, 4.0)]
UNGUIDED = ("ddim", "ddpm", "flux-schnell", "ldm-upscale")
SAMPLER = {"ddpm": "ddpm", "lcm": "lcm", "sd3": "euler", "flux": "euler", "flux-schnell": "euler"}


@pytest.mark.parametrize("name, guidance", [pair for pair in GUIDED if pair[1] == 1 or pair[0] not in UNGUIDED])
def test_images_equal_the_stock_call(name, guidance, pictures):
    pipe, conditions, resolution = tiny_pipelines.build(name)
    task = task_of(conditions, pictures)
    model = pipelines.adapt(pipe, conditions, **({"resolution": resolution} if resolution else {}))
    sampling = SamplingConfig(SAMPLER.get(name, "ddim"), 3, guidance, seed=5)
    if name == "sd-upscale":  # the stock call draws the small image's noise and the latent's from one generator
        theirs = _stock_with_our_noise(pipe, task, sampling, model)
    else:
        theirs = stock(pipe, task, sampling, 4, resolution)
    ours, _ = loop.samples(model, task, sampling, range(4))
    assert ours.dtype == torch.uint8 and ours.shape == theirs.shape
    off = (ours.int() - theirs.int()).abs()
    assert off.max() <= 1 and (off > 0).float().mean() < 0.02
    assert ours.float().std() > 5  # not one grey


SD_1 = {  # scheduler_config.json of Stable Diffusion 1: it says nothing of the spacing
    "_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True,
    "steps_offset": 1, "trained_betas": None, "clip_sample": False,
}  # fmt: skip


@pytest.mark.parametrize("name, kind", [
    ("euler", diffusers.EulerDiscreteScheduler), ("heun", diffusers.HeunDiscreteScheduler),
    ("dpm++2m", diffusers.DPMSolverMultistepScheduler), ("unipc", diffusers.UniPCMultistepScheduler),
    ("ddim", diffusers.DDIMScheduler),
])  # fmt: skip
def test_another_sampler_draws_what_the_pipeline_draws_with_that_scheduler(name, kind, tmp_path):
    """By the line of diffusers' documentation: pipe.scheduler = Kind.from_config(pipe.scheduler.config)."""
    (tmp_path / "scheduler_config.json").write_text(json.dumps(SD_1))
    pipe = tiny_pipelines.build("sd")[0]
    pipe.scheduler = diffusers.PNDMScheduler.from_pretrained(tmp_path)
    sampling, task = SamplingConfig(name, 3, 4.0, seed=5), Prompts(LINES)
    ours, _ = loop.samples(pipelines.adapt(pipe, "text"), task, sampling, range(4))
    pipe.scheduler = kind.from_config(pipe.scheduler.config)
    off = (ours.int() - stock(pipe, task, sampling, 4, None).int()).abs()
    assert off.max() <= 1 and (off > 0).float().mean() < 0.02


@pytest.mark.parametrize("name, kind", [
    ("dpm++2m", diffusers.DPMSolverMultistepScheduler), ("unipc", diffusers.UniPCMultistepScheduler),
])  # fmt: skip
def test_multistep_solvers_of_a_flow_model_keep_its_shift(name, kind):
    """Stable Diffusion 3 is shifted by 3: s -> 3 s / (1 + 2 s), Esser et al. 2024, eq. 23; diffusers' flow_shift."""
    pipe = tiny_pipelines.build("sd3")[0]
    ours = loop.planned(SamplingConfig(name, 6), pipelines.adapt(pipe, "text"))
    theirs = kind(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0)
    theirs.set_timesteps(6)
    assert torch.equal(ours.timesteps, theirs.timesteps) and torch.equal(ours.sigmas, theirs.sigmas)
    even = np.linspace(1, 1e-3, 7)[:-1]
    assert ours.sigmas[:-1].numpy() == pytest.approx(3 * even / (1 + 2 * even), abs=2e-3)


def test_every_flow_sampler_fits_flux_or_says_why_not():
    pipe, task, resolution = tiny_pipelines.build("flux")
    model = pipelines.adapt(pipe, task, resolution=resolution)
    levels = [loop.planned(SamplingConfig(name, 4), model).sigmas for name in ("euler", "dpm++2m", "unipc")]
    assert all(torch.allclose(levels[0], other, atol=2e-3) for other in levels)
    with pytest.raises(InputError, match=r"'heun' cannot make 4 steps: FlowMatchHeun.* takes no noise levels"):
        loop.planned(SamplingConfig("heun", 4), model)


@pytest.mark.parametrize("name", tiny_pipelines.KINDS)
def test_a_blueprint_costs_what_the_loaded_pipeline_does_and_reads_no_weights(name, pictures, tmp_path, capfd):
    pipe, conditions, resolution = tiny_pipelines.build(name)
    pipe.save_pretrained(tmp_path)
    capfd.readouterr()
    options, task = {"resolution": resolution} if resolution else {}, task_of(conditions, pictures)
    loaded = pipelines.adapt(loading.load_pipeline(tmp_path, "float32"), conditions, **options)
    for path in tmp_path.rglob("*.safetensors"):
        path.unlink()
    drawn = pipelines.adapt(loading.blueprint(tmp_path), conditions, **options)
    assert all(p.is_meta for part in drawn.parts for p in part.parameters())
    assert counting.cost_profile(drawn, task).columns(5) == counting.cost_profile(loaded, task).columns(5)
    assert (drawn.shape, drawn.guided, drawn.flow) == (loaded.shape, loaded.guided, loaded.flow)
    assert capfd.readouterr() == ("", "")  # no bars, no advice


@pytest.mark.parametrize("name, side", [("ddpm", 8), ("dit", 16)])
def test_a_resolution_that_a_network_cannot_draw_is_refused_and_not_ignored(name, side):
    pipe, task, _ = tiny_pipelines.build(name)
    assert pipelines.adapt(pipe, task, resolution=side).shape == pipelines.adapt(pipe, task).shape
    with pytest.raises(InputError, match=f"resolution was 64: this network draws {side} pixels alone"):
        pipelines.adapt(pipe, task, resolution=64)


def test_prompts_of_a_file_from_windows_are_the_words_alone(tmp_path):
    (tmp_path / "prompts.txt").write_bytes("\ufeffa red cat\r\n\r\nein grünes Häuschen\r\n".encode())
    assert prompts(tmp_path / "prompts.txt").lines == ("a red cat", "ein grünes Häuschen")


def _stock_with_our_noise(pipe, task, sampling, model):
    start = loop.draw(loop.generators(sampling.seed, range(4)), model.shape)
    small = loop.draw(loop.generators(sampling.seed, range(4), 0, 1), (3, 8, 8))
    conditions, module = task.conditions(range(4)), __import__(type(pipe).__module__, fromlist=["randn_tensor"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "randn_tensor", lambda *a, **k: small)
        made = pipe(
            prompt=conditions["prompts"],
            image=conditions["small"] / 255,
            num_inference_steps=sampling.steps,
            guidance_scale=sampling.guidance,
            latents=start,
            output_type="np",
        ).images
    return torch.from_numpy((made * 255).round().astype("uint8")).permute(0, 3, 1, 2)
