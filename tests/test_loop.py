"""The training loop: killed anywhere it resumes to the same weights, a longer run continues a shorter one."""

import math

import pytest

torch = pytest.importorskip("torch")

from collect import weights  # noqa: E402
from collect.training import loop, train  # noqa: E402
from scalinglaws.schema import InputError  # noqa: E402

PACE = loop.Pace(rate=0.01, warmup=3, decay_after=5, clip=0.5, seed=4)


def build():
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))


def loss(model, generator):
    x = torch.randn(16, 3, generator=generator)
    return (model(x)[:, 0] - x[:, 0]).square().mean()


def run(folder, steps, **options):
    return list(loop.train(build, loss, PACE, steps, folder, **options))


def same(a, b):
    return all(torch.equal(v, weights.load(b)[0][k]) for k, v in weights.load(a)[0].items())


@pytest.mark.parametrize("killed", [1, 4, 9])
def test_killed_anywhere_it_resumes_to_the_same_weights(tmp_path, killed):
    whole = run(tmp_path / "whole", 12, save_every=4)
    training = loop.train(build, loss, PACE, 12, tmp_path / "cut", save_every=4)
    before = [next(training) for _ in range(killed)]
    training.close()
    after = run(tmp_path / "cut", 12, save_every=4)
    assert before == whole[:killed] and after == whole[killed - killed % 4 :]
    for name in ("state.safetensors", "average-0000012.safetensors"):
        assert same(tmp_path / "whole" / name, tmp_path / "cut" / name)


def test_a_longer_run_continues_a_shorter_one(tmp_path):
    run(tmp_path / "twice", 5)
    assert run(tmp_path / "twice", 9) == run(tmp_path / "once", 9)[5:]
    assert same(tmp_path / "twice" / "state.safetensors", tmp_path / "once" / "state.safetensors")
    assert run(tmp_path / "once", 9) == []


def test_snapshots_double(tmp_path):
    assert loop.snapshot_steps(1000) == [125, 250, 500, 1000] and loop.snapshot_steps(600) == [125, 250, 500, 600]
    assert [s for s in range(1, 2001) if loop.is_doubling(s)] == [125, 250, 500, 1000, 2000]
    run(tmp_path, 260)
    assert [step for step, _ in loop.snapshots(tmp_path)] == [125, 250, 260]
    with pytest.raises(InputError, match="damaged"):
        (tmp_path / "state.safetensors").write_bytes(b"nothing")
        run(tmp_path, 300)


def test_the_rate_and_the_average_are_those_of_the_other_family():
    recipe = train.Recipe(rate=PACE.rate, warmup=PACE.warmup, decay_after=PACE.decay_after)
    for step in (1, 2, 3, 5, 6, 20, 1000):
        assert loop.rate(PACE, step) == train.rate(recipe, step)
        assert loop.ema_decay(train.EMA_GAMMA, step) == train.ema_decay(step)


def test_the_average_has_a_power_function_profile(tmp_path):
    """Weight of step t in the average after n steps: proportional to t^gamma (Karras et al. 2024, equation 121)."""
    n, gamma = 400, 6.94
    weight = {t: 1 - loop.ema_decay(gamma, t) for t in range(1, n + 1)}
    for t in range(n, 0, -1):
        for earlier in range(1, t):
            weight[earlier] *= loop.ema_decay(gamma, t)
    assert sum(weight.values()) == pytest.approx(1)
    assert math.log(weight[400] / weight[200]) / math.log(2) == pytest.approx(gamma, rel=0.02)


def test_a_loss_is_a_value_and_frozen_weights_stay(tmp_path):
    def half_frozen():
        model = build()
        model[0].requires_grad_(False)
        return model

    first = loop.start(half_frozen, PACE)
    before = first.model[0].weight.clone()
    loop.advance(first, loss, PACE)
    assert torch.equal(first.model[0].weight, before) and len(first.optimizer.param_groups[0]["params"]) == 2
