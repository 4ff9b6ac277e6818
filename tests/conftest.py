"""Shared by all tests: --slow, and a small family with random weights that runs the real code in seconds."""

import pytest


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too (CI always does)")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slow"):
        skip = pytest.mark.skip(reason="slow: run with --slow")
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(skip)


FAMILY = """
family: small
shape: tiny-ldm
widths: [8, 12]
steps: 6
recipe: {batch: 8, warmup: 2, decay_after: 4}
parts: {autoencoder_steps: 2, features_steps: 2}
check: {sampler: ddim, steps: 2, samples: 80}
"""


@pytest.fixture(scope="session")
def small_family(tmp_path_factory):
    """A folder with two sizes of random weights, a random autoencoder and feature network, and a reference."""
    torch = pytest.importorskip("torch")
    from collect import features, metrics, weights
    from collect.families.trained import TrainedFamily
    from collect.models import autoencoder
    from collect.models import shapes as families

    folder = tmp_path_factory.mktemp("family")
    (folder / "family.yaml").write_text(FAMILY)
    torch.manual_seed(0)
    for c in (8, 12):
        weights.save(families.tiny(c).state_dict(), folder / f"c{c}.safetensors", half=True)
    weights.save(autoencoder.build().state_dict(), folder / "autoencoder.safetensors", {"scaling_factor": 1.0})
    weights.save(features.Classifier().state_dict(), folder / "features.safetensors")
    pictures = torch.randint(0, 256, (300, 32, 32), dtype=torch.uint8)
    extracted, _ = features.extract(TrainedFamily(folder).classifier(), pictures)
    metrics.write_reference(extracted, folder / "reference.safetensors", features.NAME, subset=100)
    return folder


@pytest.fixture(scope="session")
def published():
    """Every series of the board."""
    from scalinglaws.forecasting import series

    return series.published()


@pytest.fixture(scope="session")
def user_table(tmp_path_factory):
    """Path of a user's csv, for the tests of the site."""
    from site_pages import user_csv

    return user_csv(tmp_path_factory.mktemp("user"))


@pytest.fixture(scope="session")
def explorer(user_table, tmp_path_factory):
    """Path of the interactive page of that csv."""
    from site_pages import page_in

    return page_in(tmp_path_factory.mktemp("page"), user_table)


@pytest.fixture
def said(capsys):
    """Run the command line in this process: said(*words) -> (exit code, stdout, stderr)."""
    from scalinglaws import cli

    def run(*argv):
        code = cli.main([str(a) for a in argv])
        out = capsys.readouterr()
        return code, out.out, out.err

    return run
