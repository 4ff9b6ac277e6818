"""The training loop: killed anywhere it resumes to the same weights, a longer run continues a shorter one."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from collect import weights  # noqa: E402
from collect.training import loop, parallel  # noqa: E402
from scalinglaws.schema import InputError, NoAnswer  # noqa: E402

CONFIG = loop.OptimizerConfig(rate=0.01, warmup=3, decay_after=5, clip=0.5, seed=4)


def build():
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))


def loss(model, generator):
    x = torch.randn(16, 3, generator=generator)
    return (model(x)[:, 0] - x[:, 0]).square().mean()


def run(folder, steps, **options):
    return list(loop.train(build, loss, CONFIG, steps, folder, **options))


def same(a, b):
    return all(torch.equal(v, weights.load(b)[0][k]) for k, v in weights.load(a)[0].items())


@pytest.mark.parametrize("killed", [1, 4, 9])
def test_killed_anywhere_it_resumes_to_the_same_weights(tmp_path, killed):
    whole = run(tmp_path / "whole", 12, save_every=4)
    training = loop.train(build, loss, CONFIG, 12, tmp_path / "cut", save_every=4)
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


def test_the_learning_rate_warms_up_holds_and_falls_as_one_over_root():
    config = loop.OptimizerConfig(rate=1.0, warmup=10, decay_after=100)
    assert [loop.learning_rate(config, s) for s in (1, 5, 10, 100, 400)] == pytest.approx([0.1, 0.5, 1, 1, 0.5])


def test_the_average_has_a_power_function_profile():
    """Weight of step t in the average after n steps: proportional to t^gamma (Karras et al. 2024, equation 121)."""
    n, gamma = 400, loop.OptimizerConfig().gamma
    shares = np.zeros(n)
    for t in range(1, n + 1):
        shares *= loop.ema_decay(gamma, t)
        shares[t - 1] += 1 - loop.ema_decay(gamma, t)
    assert shares.sum() == pytest.approx(1)
    assert np.log2(shares[399] / shares[199]) == pytest.approx(gamma, rel=0.02)
    assert (shares * np.arange(1, n + 1)).sum() / n == pytest.approx((gamma + 1) / (gamma + 2), abs=2e-3)


def test_a_snapshot_that_all_have(tmp_path):
    run(tmp_path / "a", 5)
    run(tmp_path / "b", 5)
    run(tmp_path / "b", 9)
    step, paths = loop.common_snapshot(tmp_path, ["a", "b"])
    assert step == 5 and paths == {label: loop.snapshot(tmp_path / label, 5) for label in "ab"}
    with pytest.raises(InputError, match=r"has a snapshot of step 9; all have \[5\]"):
        loop.common_snapshot(tmp_path, ["a", "b"], 9)


def test_a_loss_is_a_value_and_frozen_weights_stay(tmp_path):
    def half_frozen():
        model = build()
        model[0].requires_grad_(False)
        return model

    first = loop.start(half_frozen, CONFIG)
    before = first.model[0].weight.clone()
    loop.advance(first, loss, CONFIG)
    assert torch.equal(first.model[0].weight, before) and len(first.optimizer.param_groups[0]["params"]) == 2


def test_each_process_draws_numbers_of_its_own():
    """Process 0 draws what one alone does; torch takes 32 bits of a seed, and a rank above them was lost."""
    drawn = {rank: torch.rand(4, generator=loop.step_generator(3, 7, rank)).tolist() for rank in range(5)}
    assert drawn[0] == torch.rand(4, generator=torch.Generator().manual_seed(3 * 1_000_003 + 7)).tolist()
    assert len({tuple(values) for values in drawn.values()}) == 5
    assert drawn[1] != torch.rand(4, generator=loop.step_generator(3, 8, 1)).tolist()


def test_another_number_of_processes_does_not_continue_a_run(tmp_path):
    """Its batch would be another one, and the images seen could not be counted from the steps."""
    run(tmp_path, 2)
    two = parallel.Alone(processes=2)
    with pytest.raises(InputError, match=r"is of 1 processes, .* cannot be continued by 2: start 1, or choose another"):
        run(tmp_path, 4, where=two)
    run(tmp_path / "two", 2, where=two)
    assert [step for step, _ in run(tmp_path / "two", 4, where=two)] == [3, 4]


def diverging(at, value):
    """The loss, which at a step is multiplied by a value that is not finite, and its gradient with it."""
    steps = iter(range(1, 1000))
    return lambda model, generator: loss(model, generator) * (value if next(steps) == at else 1.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_state(tmp_path, value):
    """At a step whose state would be kept, the one on disk stays that of the one before."""
    train = loop.train(build, diverging(128, value), CONFIG, 300, tmp_path, save_every=2)
    with pytest.raises(NoAnswer) as said:
        list(train)
    text = str(said.value)
    assert f"{tmp_path} diverged at step 128: the loss was {value}" in text
    assert "Kept from before are state.safetensors of step 126 and snapshot average-0000125.safetensors" in text
    assert "give a smaller rate or a longer warmup, and another --out" in text
    tensors, about = weights.load(tmp_path / "state.safetensors")
    assert about["step"] == "126" and all(torch.isfinite(v).all() for v in tensors.values())
    assert run(tmp_path, 128)[0][0] == 127  # what was kept can be continued


def test_a_gradient_that_is_not_finite_stops_a_run_of_finite_loss(tmp_path):
    """The root of 0 has the value 0 and no finite slope: the loss is fine, the weights after the step are not."""
    steep = lambda model, generator: loss(model, generator) + (model[0].weight * 0).square().sum().sqrt()  # noqa: E731
    with pytest.raises(NoAnswer, match=r"loss was [0-9.]+, the norm of its gradient nan. Nothing was kept before it"):
        list(loop.train(build, steep, CONFIG, 1, tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_small_part_that_diverges_is_not_kept():
    with pytest.raises(NoAnswer, match="training of a Sequential diverged at step 3: its loss is nan"):
        list(loop.train_one_cycle(build, diverging(3, float("nan")), 5, 1e-3))


def test_a_state_of_an_older_version_that_had_diverged_is_refused(tmp_path):
    run(tmp_path, 2)
    tensors, about = weights.load(tmp_path / "state.safetensors")
    tensors["model.0.weight"][0, 0] = float("nan")
    weights.save(tensors, tmp_path / "state.safetensors", about)
    with pytest.raises(InputError, match=r"not finite \(model.0.weight, for one\): its run had diverged by step 2"):
        run(tmp_path, 4)


def test_another_precision_does_not_continue_a_run(tmp_path):
    """Rows say one precision of a training; a state that is older than the record is taken at its word."""
    mixed = parallel.Alone(dtype="bfloat16 mixed")
    run(tmp_path, 2)
    with pytest.raises(InputError, match="trained in float32 and cannot be continued in bfloat16 mixed"):
        run(tmp_path, 4, where=mixed)
    tensors, about = weights.load(tmp_path / "state.safetensors")
    weights.save(tensors, tmp_path / "state.safetensors", {k: v for k, v in about.items() if k != "dtype"})
    assert [step for step, _ in run(tmp_path, 4)] == [3, 4]
