"""Weights on disk."""

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from collect import weights  # noqa: E402
from scalinglaws.schema import InputError  # noqa: E402


def test_equal_tensors_and_metadata_are_equal_bytes(tmp_path):
    tensors = {"b": torch.randn(3), "a": torch.randn(2, 2).half(), "n": torch.tensor(7)}
    about, path = {"zé": 1, 'quo"ted': "x", "steps": 3, "factor": 0.5}, tmp_path / "w.safetensors"
    prints = set()
    for _ in range(20):  # 4 keys in an order of chance would be the same 20 times with probability 24^-19
        weights.save(tensors, path, about)
        prints.add(weights.fingerprint(path))
    assert len(prints) == 1
    read, kept = weights.load(path)
    assert kept == {k: str(v) for k, v in about.items()}
    theirs = load_file(path)
    assert all(torch.equal(read[k], v) and torch.equal(theirs[k], v) for k, v in tensors.items())


def test_weights_that_cannot_be_written_are_one_sentence_and_leave_nothing(tmp_path):
    (tmp_path / "w.safetensors").mkdir()
    with pytest.raises(InputError, match=r"Cannot write .*w.safetensors \(Is a directory\): make room"):
        weights.save({"a": torch.zeros(2)}, tmp_path / "w.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
