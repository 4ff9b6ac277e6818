"""tools/install.py: what it decides, with no package installed."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
spec = importlib.util.spec_from_file_location("install", ROOT / "tools" / "install.py")
install = importlib.util.module_from_spec(spec)
spec.loader.exec_module(install)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A Linux machine without GPU, uv or settings of pip; returns the commands that would run."""
    ran = []
    for name in ("PIP_ARGS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(install, "gpu", lambda: False)
    monkeypatch.setattr(install, "pip_is_configured", lambda: False)
    monkeypatch.setattr(install, "answers", lambda url: True)
    monkeypatch.setattr(install.shutil, "which", lambda name: None)
    monkeypatch.setattr(install, "step", lambda words, command, log: ran.append([str(w) for w in command]))
    return ran


def torch_command(ran):
    return next(command for command in ran if command[-1] == "torch")


def test_torch_comes_without_cuda_where_there_is_no_gpu(machine, tmp_path):
    install.set_up(tmp_path / "venv", "demo")
    assert torch_command(machine)[-3:-1] == ["--extra-index-url", install.CPU_WHEELS]
    assert "constraints.txt" in " ".join(torch_command(machine))


@pytest.mark.parametrize("change", ["a gpu", "pip is configured", "PIP_ARGS", "no answer", "a mac"])
def test_torch_comes_from_the_usual_place_where_that_is_better(machine, tmp_path, monkeypatch, change):
    monkeypatch.setattr(install, "gpu", lambda: change == "a gpu")
    monkeypatch.setattr(install, "pip_is_configured", lambda: change == "pip is configured")
    monkeypatch.setattr(install, "answers", lambda url: change != "no answer")
    monkeypatch.setattr(sys, "platform", "darwin" if change == "a mac" else "linux")
    if change == "PIP_ARGS":
        monkeypatch.setenv("PIP_ARGS", "--index-url https://mirror.example/simple")
    install.set_up(tmp_path / "venv", "demo")
    assert install.CPU_WHEELS not in torch_command(machine)
    assert ("https://mirror.example/simple" in torch_command(machine)) == (change == "PIP_ARGS")


def test_uv_is_used_where_it_is_and_pip_is_not_configured(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(install.shutil, "which", lambda name: "/usr/bin/uv" if name == "uv" else None)
    install.set_up(tmp_path / "one", "demo")
    assert torch_command(machine)[:3] == ["/usr/bin/uv", "pip", "install"]
    assert "--torch-backend=cpu" in torch_command(machine)
    machine.clear()
    monkeypatch.setattr(install, "pip_is_configured", lambda: True)
    install.set_up(tmp_path / "two", "demo")
    assert torch_command(machine)[1:4] == ["-m", "pip", "install"]


def test_what_is_there_is_not_installed_again(machine, tmp_path):
    install.set_up(tmp_path / "venv", "test")
    machine.clear()
    install.set_up(tmp_path / "venv", "demo")  # part of test
    install.set_up(tmp_path / "venv", "base")
    assert machine == []
    install.set_up(tmp_path / "venv", "docs")
    assert any(command[-1].endswith("[collect,dev,docs,reports]") for command in machine)


def test_a_failed_or_stopped_step_leaves_no_stamp(machine, tmp_path, monkeypatch):
    for error in (KeyboardInterrupt, install.Failed("no network")):
        monkeypatch.setattr(install, "step", lambda *_, error=error: (_ for _ in ()).throw(error))
        assert install.main(["base", "--venv", str(tmp_path / "venv")]) in (1, 130)
        assert install.read_state(tmp_path / "venv") is None and (tmp_path / "venv" / ".unfinished").exists()


def test_a_package_whose_installation_was_cut_is_installed_again(machine, tmp_path):
    site = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    whole, half = site / "whole-1.dist-info", site / "half-1.dist-info"
    for folder in (whole, half):
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text("Name: x\nVersion: 1\n")
    (whole / "RECORD").touch()
    (tmp_path / "venv" / ".unfinished").touch()
    install.set_up(tmp_path / "venv", "base")
    assert whole.exists() and not half.exists() and not (tmp_path / "venv" / ".unfinished").exists()


def test_a_failure_shows_the_end_of_the_log(tmp_path, capsys):
    log = tmp_path / "install.log"
    with pytest.raises(install.Failed, match=r"(?s)out of milk.*install\.log"):
        install.step("Installing", [sys.executable, "-c", "print('WARNING: x'); raise SystemExit('out of milk')"], log)
    assert "WARNING" not in capsys.readouterr().out
