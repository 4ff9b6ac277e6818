"""Training one size: resumed equals undisturbed, and both equal the training written out by hand."""

import os
import signal
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from collect import weights  # noqa: E402
from collect.config import Recipe  # noqa: E402
from collect.models import shapes  # noqa: E402
from collect.training import family as train  # noqa: E402
from collect.training import loop, losses  # noqa: E402

RECIPE = Recipe(batch=8, warmup=2, decay_after=4)


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


def test_a_size_is_trained_as_written_out_by_hand(tmp_path):
    """v-prediction with diffusers' own schedule, clipped gradients, torch's AdamW, and the average of the weights."""
    from diffusers import DDPMScheduler

    latents, labels = data()
    torch.manual_seed(RECIPE.seed)
    model, schedule = shapes.tiny(8), DDPMScheduler(**shapes.SCHEDULE)
    adam = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    average = {name: value.clone() for name, value in model.state_dict().items()}
    for step in range(1, 5):
        z, y, noise, t = losses.draw(losses.Classes(latents, labels), 8, 0.1, loop.step_generator(RECIPE.seed, step))
        alpha, sigma = (s[t].sqrt().view(-1, 1, 1, 1) for s in (schedule.alphas_cumprod, 1 - schedule.alphas_cumprod))
        error = model(alpha * z + sigma * noise, t, y).sample - (alpha * noise - sigma * z)
        adam.zero_grad()
        error.square().mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.param_groups[0]["lr"] = (1e-3, 2e-3, 2e-3, 2e-3)[step - 1]  # 2 steps of warm-up
        adam.step()
        decay = (1 - 1 / step) ** 7.94
        average = {k: decay * v + (1 - decay) * model.state_dict()[k] for k, v in average.items()}
    trained = run(tmp_path, 4)
    assert all(torch.allclose(trained[f"average.{k}"], v, atol=1e-5) for k, v in average.items())


def test_classes_are_dropped_at_the_share_of_the_recipe():
    _, classes, _, _ = losses.draw(losses.Classes(*data()), 20_000, 0.1, loop.step_generator(0, 1))
    assert float((classes == shapes.NULL_CLASS).float().mean()) == pytest.approx(0.1, abs=0.01)
