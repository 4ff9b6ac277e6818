"""Cards against closed forms and the paper's table, the roofline against its formula and another table of peaks."""

from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from collect.families.trained import TrainedFamily  # noqa: E402
from collect.models import shapes as families  # noqa: E402
from collect.profile import flops as cost_profile  # noqa: E402
from collect.profile import roofline  # noqa: E402
from collect.profile.flops import CostProfile, Count, Operator, Work, count  # noqa: E402
from collect.run import profiling  # noqa: E402

N = torch.nn


def tensors(*shapes):
    return tuple(torch.zeros(s) for s in shapes)


def test_a_linear_layer_in_closed_form():
    counted = count(lambda: N.Linear(8, 4), tensors((3, 8)))
    assert (counted.params, counted.flops, counted.macs) == (36, 2 * 3 * 8 * 4, 3 * 8 * 4)
    assert counted.weight_bytes == counted.weight_traffic == 4 * 36 == counted.weights_as("float32")
    assert counted.traffic == counted.ends == 4 * (3 * 8 + 3 * 4)
    assert counted.fused() == counted.unfused() == 4 * (36 + 36)
    assert counted.fused(batch=30) == 4 * (36 + 360)  # weights are read once a call, whatever the batch


def test_a_stack_moves_what_its_operators_read_and_write():
    def build():
        return N.Sequential(N.Conv2d(3, 5, 3, padding=1, bias=False), N.ReLU(), N.Flatten(), N.Linear(5 * 64, 7))

    counted = count(build, tensors((1, 3, 8, 8)))
    held = 3 * 5 * 9 + 5 * 64 * 7 + 7
    assert counted.flops == 2 * 3 * 5 * 9 * 64 + 2 * 5 * 64 * 7
    assert counted.traffic == 4 * ((3 + 5) * 64 + (5 + 5) * 64 + 5 * 64 + 7)  # flattening is a view: free
    assert counted.ends == 4 * (3 * 64 + 7) and counted.weight_traffic == 4 * held


class Attention(N.Module):
    def forward(self, q):
        return N.functional.scaled_dot_product_attention(q, q, q)


class ByHand(N.Module):
    def forward(self, q):
        return (q @ q.transpose(-1, -2)).softmax(-1) @ q


def test_attention_is_counted_and_its_matrix_stays_on_the_chip_unless_written_by_hand():
    one, hand = (count(build, tensors((1, 2, 256, 8))) for build in (Attention, ByHand))
    assert one.flops == hand.flops == 2 * 2 * 2 * 256 * 256 * 8
    tensor, matrix = 4 * 2 * 256 * 8, 4 * 2 * 256 * 256
    assert one.traffic == 4 * tensor and one.fused() == hand.fused() == 2 * tensor
    assert hand.traffic == 4 * matrix + 4 * tensor  # product, softmax in and out, product; q, k, v and the output


def test_attention_over_fewer_keys_of_fewer_heads_counts_every_pair():
    class Grouped(N.Module):
        def forward(self, q, k):
            return N.functional.scaled_dot_product_attention(q, k, k, enable_gqa=True, is_causal=True)

    counted = count(Grouped, tensors((3, 4, 10, 8), (3, 2, 7, 8)))
    assert counted.flops == 2 * 2 * 3 * 4 * 10 * 7 * 8 and counted.traffic == 4 * 3 * 8 * (2 * 4 * 10 + 2 * 2 * 7)


def test_attention_to_narrower_values_counts_their_own_width():
    counted = count(lambda: Three(), tensors((1, 2, 10, 8), (1, 2, 7, 8), (1, 2, 7, 4)))
    assert counted.flops == 2 * 2 * 10 * 7 * (8 + 4) and counted.macs == counted.flops / 2


class Three(N.Module):
    def forward(self, q, k, v):
        return N.functional.scaled_dot_product_attention(q, k, v)


def test_repeated_elements_and_rows_not_asked_for_move_nothing():
    class Repeat(N.Module):
        def forward(self, x):
            return x.expand(100, 8).t() + 1.0

    assert count(Repeat, tensors((1, 8))).traffic == 4 * (8 + 800)
    counted = count(lambda: N.Embedding(1000, 8), (torch.zeros(1, 5, dtype=torch.long),))
    assert counted.weight_traffic == 4 * 5 * 8 and counted.weight_bytes == 4 * 8000 and counted.ends == 5 * 8 + 4 * 40
    assert counted.fused() == 4 * 5 * 8 + 5 * 8 + 4 * 40


def test_half_the_width_of_numbers_is_half_the_bytes_and_the_same_flops():
    full, half = (count(lambda: N.Linear(8, 4), {"input": torch.zeros(3, 8)}, d) for d in ("float32", "bfloat16"))
    assert half.flops == full.flops and half.weights_as("bfloat16") == half.weight_bytes == full.weight_bytes / 2
    assert (half.unfused(), half.fused()) == (full.unfused() / 2, full.fused() / 2)
    larger = count(lambda: N.Linear(8, 4), {"input": torch.zeros(12, 8)})
    assert (full.unfused(12), full.fused(12)) == (larger.unfused(), larger.fused())


@pytest.mark.parametrize(("family", "c"), [("tiny-ldm", 16), ("mei", 64)])
def test_families_agree_with_the_paper_s_count_and_weights_are_read_once(family, c):
    rule, known = families.shape(family), families.forward_cost(family, c)
    counted = count(lambda: rule.build(c), rule.inputs())
    assert (counted.params, counted.flops) == (known.params, known.flops_per_forward)
    assert counted.weight_traffic <= counted.weight_bytes and counted.fused() < counted.unfused()


@pytest.mark.parametrize("name", ["tiny-ldm", "clip"])
def test_a_living_network_counts_as_one_on_meta_and_is_not_touched(name):
    build, inputs = {"tiny-ldm": (lambda: families.tiny(8), families.tiny_inputs()), "clip": (clip, (TEXT,))}[name]
    network = build().eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    live, meta = cost_profile.count_live(network, lambda: network(*inputs)), count(build, inputs)
    same = ("params", "batch", "flops", "weight_bytes", "weight_traffic", "ends", "dtype")
    assert [getattr(live, name) for name in same] == [getattr(meta, name) for name in same]
    assert live.traffic == pytest.approx(meta.traffic, rel=0.02)  # a device may copy where another need not
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert next(network.parameters()).device.type == "cpu"


TEXT = torch.zeros(1, 77, dtype=torch.long)


def clip():
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(vocab_size=99, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4)
    )


def test_a_text_encoder_in_closed_form():
    counted = count(clip, {"input_ids": TEXT})
    n, d, wide = 77, 32, 64
    assert counted.flops == 3 * 2 * (4 * n * d * d + 2 * n * n * d + 2 * n * d * wide)


def test_one_method_is_counted_without_what_it_does_not_use():
    from diffusers import AutoencoderKL

    def build():
        return AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=2)

    whole, half = count(build, tensors((1, 3, 8, 8))), count(build, tensors((1, 2, 8, 8)), call="decode")
    decoder = count(lambda: build().decoder, tensors((1, 2, 8, 8)))
    assert half.flops == decoder.flops + 2 * 2 * 2 * 64  # a 1x1 convolution of 2 channels stands before it
    assert half.params == whole.params and half.weight_traffic == decoder.weight_traffic + 4 * (2 * 2 + 2)
    assert half.fused() < half.weight_bytes < whole.fused() and half.flops < whole.flops


def test_a_cell_is_calls_times_a_call_with_text_and_decoder_apart():
    net, text = count(lambda: N.Linear(8, 8), tensors((1, 8))), count(lambda: N.Linear(2, 2), tensors((1, 2)))
    parts = CostProfile(net, text, net).cell(nfe=20, samples=100, batch=10, texts=2)
    assert parts["denoise"].flops == 100 * 20 * 2 * 64 and parts["decode"].flops == 100 * 2 * 64
    assert parts["text"].flops == 2 * 100 * 2 * 4
    assert parts["denoise"].fused == 200 * (4 * 72 + 10 * 4 * 16)  # 200 calls, 10 samples each
    assert set(CostProfile(net).cell(20, 100)) == {"denoise"}
    columns = CostProfile(net).columns(nfe=20)
    assert columns["flops_per_image"] == 2 * columns["macs_per_forward"] * 20 and columns["flops_text"] == 0
    columns = CostProfile(net, text, net).columns(nfe=20, texts=2)
    wanted = {"macs_per_forward": 64, "flops_per_image": 20 * 128, "flops_text": 2 * 8, "flops_decode": 128}
    assert {name: columns[name] for name in wanted} == wanted
    trained = CostProfile(count(lambda: N.Linear(8, 8), tensors((4, 8)))).training_columns(steps=10, batch=6)
    assert trained == {"train_steps": 10, "train_images": 60, "train_flops": 3 * 60 * 128}  # a backward pass is two


L4 = roofline.known_machine("NVIDIA L4")  # 121 TFLOPs and 0.3 TB a second
SUMS, BYTES = Operator(121 * 10**12, 0, 3 * 10**11), Operator(10**9, 6 * 10**11, 0)  # 1 s of each, and 2 s of bytes


def network(*operators, ends=0):
    moved = sum(o.weights for o in operators)
    return Count(
        params=1, batch=1, weight_bytes=moved, ends=ends, dtype="bfloat16", operators=dict.fromkeys(operators, 1)
    )


def test_the_roofline_is_the_slower_of_sums_and_bytes():
    one = Work(network(SUMS), 1)
    assert roofline.seconds([one], L4, "bfloat16") == pytest.approx(1)
    assert roofline.seconds([Work(network(BYTES), 1)], L4, "bfloat16") == pytest.approx(2)
    both = Work(network(SUMS, BYTES), 1)  # fused, sums hide behind bytes; operator by operator they cannot
    assert roofline.seconds([both], L4, "bfloat16") == pytest.approx(2)
    assert roofline.eager_seconds([both], L4, "bfloat16") == pytest.approx(3)
    assert roofline.seconds([one, both], L4, "bfloat16") == pytest.approx(3)
    assert roofline.reached([both], L4, measured=8, dtype="bfloat16") == pytest.approx(0.25)


def test_a_larger_batch_reads_weights_less_often():
    samples = [Work(network(SUMS, BYTES), 8, batch) for batch in (1, 4)]
    fused, eager = ([f([w], L4, "bfloat16") for w in samples] for f in (roofline.seconds, roofline.eager_seconds))
    assert fused == pytest.approx([8 * 2, 8 * 1], rel=1e-4) and eager == pytest.approx([8 * 3, 8 * 1 + 2 * 2])


def test_what_is_not_known_is_null():
    assert roofline.known_machine("NVIDIA H100 PCIe") is None  # a relative of the table's H100: other peaks
    one = [Work(network(SUMS), 1)]
    assert roofline.seconds(one, None) is None and roofline.reached(one, None, 1.0) is None
    assert roofline.seconds(one, L4, "float64") is None and roofline.eager_seconds(one, L4, "float64") is None
    assert roofline.reached(one, L4, None) is None


@pytest.mark.parametrize(
    ("ours", "theirs"), [("NVIDIA H100 80GB HBM3", "NVIDIA H100"), ("NVIDIA A100-SXM4-80GB", "NVIDIA A100")]
)
def test_peaks_agree_with_torch_s_own_table(ours, theirs):
    """Not its L4: torch 2.13 has the sparse peaks there as dense, and the bandwidth of an H100."""
    table = pytest.importorskip("torch._inductor.analysis.device_info")
    mine, other = roofline.MACHINES[ours], table._device_mapping[theirs]
    assert mine.bandwidth == pytest.approx(other.dram_bw_gbs * 1e9)
    assert mine.peak_flops["bfloat16"] == pytest.approx(
        other.tops[torch.bfloat16] * 1e12 / other.tops_sparsity_factor, 3e-3
    )
    assert mine.peak_flops["float32"] == pytest.approx(other.tops[torch.float32] * 1e12, 3e-3)


def test_every_peak_is_dense_in_order_and_sourced():
    for machine in roofline.MACHINES.values():
        peaks = machine.peak_flops
        assert peaks["float32"] <= peaks["tf32"] < peaks["bfloat16"] == peaks["float16"]
        assert 1.9 < peaks["bfloat16"] / peaks["tf32"] < 2.1 and "NVIDIA" in machine.source


def test_a_measured_machine_is_its_fastest_run(monkeypatch):
    seconds = iter([0.1, 0.5, 0.25, 0.5, 9.0, 0.02, 0.01, 0.04])  # the first of each is not counted

    class Recorded:
        def __init__(self, device):
            self.seconds = next(seconds)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(roofline, "Timer", Recorded)
    counted = roofline.measure_machine("cpu", side=64, repeats=3)
    assert counted.peak_flops["float32"] == 2 * 64**3 / 0.25 and counted.bandwidth == 2 * 2**27 / 0.01
    assert "64 x 64" in counted.source


def test_a_product_as_fast_as_this_machine_s_fastest_reaches_its_roofline():
    machine = roofline.measure_machine("cpu", side=512, repeats=3)
    peak, bandwidth = machine.peak_flops["float32"], machine.bandwidth
    works = [Work(count(lambda: N.Linear(512, 512), (torch.randn(512, 512),)), 512, batch=512)]
    least = max(works[0].flops / peak, works[0].fused / bandwidth)
    assert works[0].flops == 2 * 512**3 and peak > 1e8 and bandwidth > 1e7
    assert roofline.reached(works, machine, 2 * 512**3 / peak) == pytest.approx(least * peak / (2 * 512**3))
    assert roofline.reached(works, machine, 2 * least) == pytest.approx(0.5)


def test_a_guided_run_at_the_speed_of_memory_reaches_the_whole_roofline(small_family):
    """Five steps at batch 1, each one call on the pair: by definition what five such calls must move, once."""
    family = TrainedFamily(Path(small_family))
    slow = roofline.Machine("memory alone", {"float32": 1e30}, 1.0, "1 byte a second")
    pair = count(lambda: families.tiny(8), tuple(x.repeat(2, *[1] * (x.dim() - 1)) for x in families.tiny_inputs()))
    row = {"model": "c8", "nfe": 10, "sampling_batch": 1, "guidance": 2.0, "dtype": "float32"}
    measured = {"seconds_per_image": 5.0 * pair.fused()}
    assert profiling.roofline_share(SimpleNamespace(family=family), row | measured, slow) == pytest.approx(1, abs=0.01)
