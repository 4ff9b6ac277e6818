"""Students of few steps: progressive distillation, guided distillation, consistency students by CoDi's losses."""

import torch
from torch.func import functional_call
from torch.nn.functional import mse_loss

from collect.sampling.loop import SamplingConfig, encode, planned, predict
from collect.training.denoising import draw, times
from scalinglaws.schema import InputError

SIGMA_DATA = 0.5  # of the boundary terms (Song et al. 2023, arXiv:2303.01469, appendix C)
TIME_SCALE = 10.0  # of time in them (Luo et al. 2023, arXiv:2310.04378; diffusers' LCMScheduler)


def two_step_target(process, denoise, z, t, mid, end):
    """The x~ that one DDIM step from t must predict to land at `end` where two steps of the teacher, t to mid to end,
    do: (z_end - r z_t) / (alpha_end - r alpha_t) with r = sigma_end / sigma_t (Salimans & Ho 2022, arXiv:2202.00512,
    algorithm 2 and appendix G). Times [b]; denoise(z, t) -> (x, noise) of the teacher."""
    middle = process.at(*denoise(z, t), mid)
    landed = process.at(*denoise(middle, mid), end)
    (alpha, sigma), (alpha_end, sigma_end) = (process.coefficients(time, z) for time in (t, end))
    ratio = sigma_end / sigma
    return (landed - ratio * z) / (alpha_end - ratio * alpha)


def truncated_snr(process, t, like):
    """max(alpha_t^2 / sigma_t^2, 1), the weight of an error in x (Salimans & Ho 2022, section 4, 'truncated SNR')."""
    alpha, sigma = process.coefficients(t, like)
    return (alpha / sigma).square().clamp(min=1)


def sampled_times(model, process, steps):
    """The times t_0 > ... > t_N of a trajectory of N = `steps` steps, the last one data, as the sampler takes them:
    evenly from the last level (spacing 'trailing'), Euler's own for flow matching."""
    if process.flow:
        return [1000 * float(s) for s in planned(SamplingConfig("euler", steps), model).sigmas]
    if steps > process.levels:
        raise InputError(f"A student of {steps} steps: the model has {process.levels} levels of noise.")
    return [round(process.levels * (steps - i) / steps) - 1 for i in range(steps + 1)]


def middle(process, t, end):
    """The time half-way, a whole level of a variance-preserving process."""
    return (t + end) / 2 if process.flow else (t + end).div(2, rounding_mode="floor")


def progressive(student, teacher, examples, steps, batch=32, guidance=(1.0,), drop=0.1):
    """The loss E max(alpha_t^2 / sigma_t^2, 1) |x_eta(z_t, t, c) - x~|^2, x~ the two_step_target of the teacher, t over
    the `steps` times at which the student will be called (Salimans & Ho 2022, arXiv:2202.00512, algorithm 2).

    student, teacher: Pretrained; a guidance other than 1 is the teacher's (two evaluations) and becomes the student's
    own. Between two values it is drawn anew each step, for a student that takes it as an input.
    """
    process, grid = teacher.process, torch.tensor(sampled_times(teacher.model, teacher.process, steps))

    def loss(net, generator):
        x, _, noise, cond, uncond = _draw(teacher, examples, batch, drop, generator)
        index, weight = torch.randint(steps, (batch,), generator=generator), _weight(guidance, generator)
        t, end = grid[index], grid[index + 1]
        z = process.noised(x, noise, t)
        with torch.no_grad():
            teach = lambda z, t: _teacher(teacher, z, t, cond, uncond, weight)  # noqa: E731
            target = two_step_target(process, teach, z, t, middle(process, t, end), end)
        return _weighted(student, net, z, t, cond, target, weight)

    return loss


def guided(student, teacher, examples, batch=32, guidance=(1.0, 4.0), drop=0.1):
    """The loss E max(alpha_t^2 / sigma_t^2, 1) |x_eta(z_t, t, c, w) - x^w(z_t, t, c)|^2 with
    x^w = (1 + w) x(z_t, t, c) - w x(z_t, t) and w uniform (Meng et al. 2023, arXiv:2210.03142, eq. 3): one evaluation
    for two. Guidance here is 1 + w; one value of it makes a student of that guidance alone."""

    def loss(net, generator):
        x, t, noise, cond, uncond = _draw(teacher, examples, batch, drop, generator)
        weight, z = _weight(guidance, generator), teacher.process.noised(x, noise, t)
        with torch.no_grad():
            target, _ = _teacher(teacher, z, t, cond, uncond, weight)
        return _weighted(student, net, z, t, cond, target, weight)

    return loss


def consistency(student, examples, batch=32, drop=0.1, gap=1):
    """CoDi's loss E[ |eps_theta-(z_s, s, c) - eps_theta(z_t, t, c)|^2 + |x - f_theta(z_t, t, c)|^2 ] (Mei et al. 2023,
    arXiv:2310.01407): the noise that the network sees stays the same along its own DDIM step from t to s = t - gap, and
    x is what it was. theta- is the loop's average of the weights. t is one for the batch.

    f = c_skip z_t + c_out x_theta with c_skip = d^2 / (T^2 + d^2), c_out = T / sqrt(T^2 + d^2), T = 10 t, d = 0.5: the
    boundary terms of consistency models as diffusers' LCMScheduler has them.
    """
    model, process = student.model, student.process

    def loss(net, generator, average):
        x, t, noise, condition = draw(student, examples, batch, drop, generator)
        first = 1000 / process.levels if process.flow else 0
        t = torch.clamp(t[:1].expand(batch), min=first + gap)
        s = t - gap
        z = process.noised(x, noise, t)
        x_t, noise_t = process.parts(model.call(net, z, times(t, z), condition, 1.0).float(), z, t)
        with torch.no_grad():
            z_s = process.at(x_t, noise_t, s)
            _, noise_s = process.parts(
                model.call(_averaged(net, average), z_s, times(s, z), condition, 1.0).float(), z_s, s
            )
        skip, out = boundary(float(t[0]))
        return mse_loss(noise_t, noise_s) + mse_loss(skip * z + out * x_t, x)

    loss.averaged = True
    return loss


def forward_passes(method, evaluations=1):
    """Forward passes of the network for each training image: three of the student, whose backward pass counts as two
    (Kaplan et al. 2020, arXiv:2001.08361, section 2.1), and those of what it learns from: of its own average
    (consistency), of the teacher once (guided) or twice (progressive), with `evaluations` for each, two of a guided
    one."""
    return 3 + {"consistency": 1, "guided": evaluations, "progressive": 2 * evaluations}[method]


def boundary(t):
    """(c_skip, c_out) at time t: (1, 0) at t = 0."""
    scaled = TIME_SCALE * t
    return SIGMA_DATA**2 / (scaled**2 + SIGMA_DATA**2), scaled / (scaled**2 + SIGMA_DATA**2) ** 0.5


def _averaged(net, average):
    """The network with the average of its weights."""
    bare = getattr(net, "module", net)
    return lambda *args, **named: functional_call(bare, average, args, named)


def _draw(teacher, examples, batch, drop, generator):
    """(x, t, noise, cond, uncond) of a step; a share of `drop` of the conditions is the unconditional one."""
    x, t, noise, cond = draw(teacher, examples, batch, drop, generator)
    chosen = torch.zeros(batch, dtype=torch.long)
    _, uncond = encode(teacher.model, examples.take(chosen), teacher.device)
    if uncond is not None and "beside" in cond:
        uncond = uncond | {"beside": cond["beside"]}
    return x, t, noise, cond, uncond


def _weight(guidance, generator):
    low, high = guidance[0], guidance[-1]
    return low + (high - low) * float(torch.rand((), generator=generator))


def _teacher(teacher, z, t, cond, uncond, weight):
    """(x, noise) by the teacher, guided."""
    made = predict(teacher.model, teacher.model.denoiser, z, times(t, z), cond, uncond, weight).float()
    return teacher.process.parts(made, z, t)


def _weighted(student, net, z, t, cond, target, weight):
    own = weight if student.model.guided == "embedded" else 1.0
    x, _ = student.process.parts(student.model.call(net, z, times(t, z), cond, own).float(), z, t)
    return (truncated_snr(student.process, t, z) * (x - target).square()).mean()


def with_guidance_input(net, width=256):
    """A copy of a UNet2DConditionModel that takes the guidance as an input, embedded in `width` numbers whose weights
    are zero: at step 0 its outputs are the net's own (Meng et al. 2023, arXiv:2210.03142, section 3.1)."""
    if "time_cond_proj_dim" not in net.config or net.config.time_cond_proj_dim is not None:
        raise InputError(
            f"A {type(net).__name__} cannot take the guidance as a new input: give one value of guidance, "
            "or a U-Net of text without such an input."
        )
    config = {k: v for k, v in net.config.items() if not k.startswith("_")}
    made = type(net).from_config(config | {"time_cond_proj_dim": width})
    new = made.state_dict()
    own = net.state_dict()
    made.load_state_dict(own | {name: torch.zeros_like(new[name]) for name in new.keys() - own.keys()})
    return made.eval()
