"""The family rules, against the paper's Table 1 and closed forms."""

import pytest

torch = pytest.importorskip("torch")

from collect.models import shapes as families  # noqa: E402
from scalinglaws.schema import InputError  # noqa: E402

MEI = list(families.mei_side_by_side())


@pytest.mark.parametrize("row", MEI, ids=[row["model"] for row in MEI])
def test_mei_sizes_equal_table_1(row):
    digits = {"2B": 2000, "5B": 5000}.get(row["model"])
    shown = round(row["params_M"], -3) if digits else round(row["params_M"])
    assert shown == (digits or row["params_paper_M"])
    assert row["gflops_ratio"] == pytest.approx(1, abs=0.07 if row["model"] == "39M" else 0.035)


def test_flops_of_a_convolution_and_of_attention_are_the_closed_forms():
    convolution = torch.nn.Conv2d(3, 5, 3, padding=1)
    assert families.forward_flops(convolution, (torch.zeros(1, 3, 8, 8),)) == 2 * 3 * 3 * 3 * 5 * 64

    class Attention(torch.nn.Module):
        def forward(self, q):
            return torch.nn.functional.scaled_dot_product_attention(q, q, q)

    assert families.forward_flops(Attention(), (torch.zeros(1, 2, 16, 8),)) == 2 * 2 * 2 * 16 * 16 * 8


def test_tiny_family_is_one_rule_and_spans_30_times():
    costs = [families.forward_cost("tiny-ldm", c) for c in (8, 12, 16, 20, 24, 32, 48)]
    assert costs[-1].flops_per_forward / costs[0].flops_per_forward > 30
    assert all(cost.flops_per_forward == 2 * cost.macs_per_forward for cost in costs)
    # params are a quadratic in the width: three sizes give the other four
    import numpy as np

    widths = np.array([cost.base_channels for cost in costs])
    params = np.array([cost.params for cost in costs])
    assert np.allclose(np.polyval(np.polyfit(widths[:3], params[:3], 2), widths), params)


def test_a_card_equals_the_real_model():
    assert families.forward_cost("tiny-ldm", 8).params == sum(p.numel() for p in families.tiny(8).parameters())


def test_unknown_family_names_the_known():
    with pytest.raises(InputError, match=r"No family named 'sd9'. Known families: tiny-ldm, mei"):
        families.forward_cost("sd9", 8)


@pytest.mark.parametrize(("recipe", "sentence"), [
    ("{warmup: 0}", "warmup was 0: give a positive number"),
    ("{rate: -1}", "rate was -1: give a positive number"),
    ("{clip: .nan}", "clip was nan: give a positive number"),
    ("{batch: 1.5}", "batch was 1.5: give a whole number"),
    ("{drop_class: 2}", "drop_class was 2: a probability, at most 1"),
])  # fmt: skip
def test_a_recipe_that_cannot_be_trained_is_refused(recipe, sentence, tmp_path):
    from collect.config import FamilyFile, read_config

    path = tmp_path / "family.yaml"
    path.write_text(f"family: mine\nwidths: [8]\nsteps: 4\nrecipe: {recipe}\n")
    with pytest.raises(InputError, match=f"line 4: 'recipe' .*: {sentence}"):
        read_config(path, FamilyFile)
    path.write_text("family: mine\nwidths: [8]\nsteps: 4\nrecipe: {drop_class: 0, seed: 0, rate: 1.0e-3}\n")
    assert read_config(path, FamilyFile).recipe["seed"] == 0
