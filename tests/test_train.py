"""The trainer: resumed equals undisturbed, and the schedules are their closed forms."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from collect import weights  # noqa: E402
from collect.models.shapes import NULL_CLASS  # noqa: E402
from collect.training import train  # noqa: E402

RECIPE = train.Recipe(batch=8, warmup=2, decay_after=4)


def data():
    generator = torch.Generator().manual_seed(3)
    return torch.randn(50, 4, 8, 8, generator=generator), torch.randint(10, (50,), generator=generator)


def run(folder, steps, stop=None):
    for step, _ in train.train_size("tiny-ldm", 8, steps, *data(), RECIPE, folder, save_every=2):
        if step == stop:
            return
    return weights.load(folder / "state.safetensors")[0]


def test_stopped_and_resumed_is_bitwise_the_undisturbed_run(tmp_path):
    straight = run(tmp_path / "a", 7)
    run(tmp_path / "b", 7, stop=5)  # the state of step 4 is on disk
    resumed = run(tmp_path / "b", 7)
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[k], resumed[k]) for k in straight)


def test_a_longer_run_continues_a_shorter_one(tmp_path):
    run(tmp_path / "a", 4)
    longer, straight = run(tmp_path / "a", 7), run(tmp_path / "b", 7)
    assert all(torch.equal(straight[k], longer[k]) for k in straight)


KILLED = """
import sys, pathlib; sys.path.insert(0, {tests!r})
import test_train
test_train.RECIPE
for step, _ in test_train.train.train_size(
    "tiny-ldm", 8, 10_000, *test_train.data(), test_train.RECIPE, pathlib.Path(sys.argv[1]), save_every=2
):
    print(step, flush=True)
"""


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_training(tmp_path):
    script = KILLED.format(tests=os.path.dirname(__file__))
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "b")], stdout=subprocess.PIPE, text=True)
    while int(process.stdout.readline()) < 7:
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    done = int(weights.load(tmp_path / "b" / "state.safetensors")[1]["step"])
    assert done >= 6
    straight, resumed = run(tmp_path / "a", done + 3), run(tmp_path / "b", done + 3)
    threads = torch.get_num_threads()
    assert all(torch.allclose(straight[k], resumed[k], atol=1e-6) for k in straight), threads


def test_average_has_the_power_function_profile():
    steps, shares = 400, np.zeros(400)
    for t in range(1, steps + 1):
        shares *= train.ema_decay(t)
        shares[t - 1] += 1 - train.ema_decay(t)
    center = (shares * np.arange(1, steps + 1)).sum() / steps
    assert shares.sum() == pytest.approx(1)
    assert center == pytest.approx((train.EMA_GAMMA + 1) / (train.EMA_GAMMA + 2), abs=2e-3)  # mean of t^gamma on 0..1


def test_rate_warms_up_holds_and_falls_as_one_over_root():
    recipe = train.Recipe(rate=1.0, warmup=10, decay_after=100)
    assert [train.rate(recipe, s) for s in (1, 5, 10, 100, 400)] == pytest.approx([0.1, 0.5, 1, 1, 0.5])


def test_classes_are_dropped_at_the_asked_share():
    latents, labels = data()
    many = train.Recipe(batch=20_000, drop_class=0.1)
    _, classes, _, _ = train.batch_of(latents, labels, many, 1)
    assert float((classes == NULL_CLASS).float().mean()) == pytest.approx(0.1, abs=0.01)


def test_snapshot_steps_double():
    assert train.snapshot_steps(1000) == [125, 250, 500, 1000]
    assert train.snapshot_steps(700) == [125, 250, 500, 700]
