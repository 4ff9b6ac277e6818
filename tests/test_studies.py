"""The bundled studies: every one loads, describes itself and keeps its caveats."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scalinglaws import schema, studies
from scalinglaws.schema import InputError

ROOT = Path(__file__).parent.parent
PUBLISHED = [n for n in studies.names() if not (n.startswith("tiny-") or n.endswith("-compute"))]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_study_loads_and_describes_itself(name):
    study = studies.describe(name)
    assert study.rows == len(studies.load(name)) and study.families and study.quality and study.sources
    assert all(s.endswith(".") or s == "" for s in study.caveats)


def test_a_description_says_what_the_checked_table_holds_and_needs_no_check(monkeypatch):
    """Over all studies the checks take seconds: `scalinglaws studies` goes without."""
    some = [*studies.search("tiny"), "edm2", "mei", "toto2"]
    tables = {name: studies.load(name) for name in some}
    monkeypatch.setattr(studies.measurements, "read", None)
    for name, table in tables.items():
        study, measured = studies.describe(name), [c for c in table if c in schema.names("quality")]
        assert study.rows == len(table) and set(study.families) == set(table["family"])
        assert set(study.quality) == {c for c in measured if table[c].notna().any()}
        assert set(study.sources) == set(table["source"].dropna() if "source" in table else ())


def test_every_table_is_in_the_catalogue_and_every_entry_has_its_table():
    assert len(PUBLISHED) == 200 and set(PUBLISHED) == {path.stem for path in (ROOT / "data/published").glob("*.csv")}
    assert studies.names() == list(studies.known())
    for entry in studies.known().values():
        assert set(entry) <= {"title", "caveats", "relatives"} and len(entry["title"]) <= 100


def test_edm2_is_as_printed():
    table = studies.load("edm2", family="EDM2 img512 no guidance")
    assert table.gflops_per_forward.tolist() == [46, 102, 181, 282, 406, 552]
    assert table.fid.tolist() == [3.53, 2.56, 2.25, 2.06, 1.96, 1.91]


def test_the_misprint_is_kept():
    assert studies.load("mei").gflops_per_forward[0] == 25.3


def test_two_rows_are_recalled():
    assert (studies.load("edm2-students").provenance == "from-memory").sum() == 2


def test_no_sentence_is_cut():
    for name in PUBLISHED:
        text = " ".join(studies.describe(name).sources)
        assert not any(cut in text for cut in ("via ,", "via ;", "copied in", "(, ", " ;", " )"))


def test_search_finds_what_a_reader_of_the_catalogue_would():
    """All words in name or title, whatever the case, in the catalogue's order; against the file itself."""
    catalogue = tomllib.loads((ROOT / "data/studies.toml").read_text(encoding="utf-8"))
    for words in ("flow", "FLOW matching", "Edm2", "KYNKÄÄNNIEMI", "by training sit"):
        parts = [re.compile(re.escape(word), re.IGNORECASE) for word in words.split()]
        texts = {name: f"{name}\n{entry['title']}" for name, entry in catalogue.items()}
        wanted = [name for name, text in texts.items() if all(part.search(text) for part in parts)]
        assert wanted and studies.search(words) == wanted
    assert studies.search("tiny-ldm-tr") == ["tiny-ldm-training"] and studies.search() == list(catalogue)
    with pytest.raises(InputError, match=r"No study has 'zzzzzz' in its name or title\. Known: tiny-ldm, "):
        studies.search("zzzzzz")
    with pytest.raises(InputError, match=r"No study has 'edm3' in its name or title\. Do you mean 'edm2'\? Known: "):
        studies.search("edm3")


def test_only_studies_whose_table_is_there_are_found(tmp_path, monkeypatch):
    (tmp_path / "published").mkdir()
    shutil.copy(ROOT / "data/studies.toml", tmp_path)
    shutil.copy(ROOT / "data/published/edm2.csv", tmp_path / "published")
    monkeypatch.setattr(studies, "HOMES", (tmp_path,))
    assert studies.search("edm2") == studies.search() == ["edm2"]
    with pytest.raises(InputError, match=r"No study has 'mei' in its name or title\. Known: edm2"):
        studies.search("mei")


def test_a_family_of_a_study_is_its_rows_alone():
    every, one = studies.load("edm2"), studies.load("edm2", family="EDM2 img512 no guidance")
    assert set(one["family"]) == {"EDM2 img512 no guidance"} and len(one) < len(every)
    assert studies.describe("mei").rows == len((ROOT / "data/published/mei.csv").read_text().splitlines()) - 1


def test_unknown_names_list_the_known():
    with pytest.raises(InputError, match=r"No study named 'emd2'. Known studies: .*edm2"):
        studies.load("emd2")
    with pytest.raises(InputError, match="No file or study named 'emd2'"):
        studies.read("emd2")


def test_read_takes_a_name_or_a_frame():
    assert studies.read("edm2").equals(studies.load("edm2"))
    assert len(studies.read(studies.load("mei"), quality="fid")) == 11


def test_reading_needs_neither_torch_nor_collect():
    code = "import sys, json, scalinglaws.studies as s; s.load('mei'); print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "diffusers", "collect"} & set(json.loads(out))


def test_first_trainings_in_the_table_of_seeds_are_those_of_the_family():
    seeds, family = (studies.load(name).astype({"guidance": float}) for name in ("tiny-t2i-seeds", "tiny-t2i"))
    family = family[family["sampler"] == "ddim"]
    key = ["model", "guidance", "steps"]
    both = seeds[seeds["train_seed"] == 0].merge(family, on=key, suffixes=("", "_family"), validate="one_to_one")
    assert len(both) == 98 and (both["weights"] == both["weights_family"]).all()
    assert (both["fd"] == both["fd_family"]).all() and (both["agreement"] == both["agreement_family"]).all()
    assert (seeds.groupby(["base_channels", "guidance", "steps"])["train_seed"].nunique() == 3).all()
