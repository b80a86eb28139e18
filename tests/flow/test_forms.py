"""What a run is told in, and to whom, by the command line."""

import json
import os
from pathlib import Path

import pytest

from orchestrator import config, store
from orchestrator.publish import formats
from orchestrator.publish.formats import FORMATS
from tests.conftest import Kdelta
from tests.unit.runs import sample_run


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The directory of a run that is over."""
    (directory := tmp_path / "results" / "one").mkdir(parents=True)
    store.save(sample_run(), directory)
    return directory


def test_report_prints_each_form_and_writes_none_of_them(kdelta: Kdelta, saved: Path, tmp_path: Path) -> None:
    for form in config.FORMATS:
        done = kdelta("report", "--format", form)
        assert done.returncode == 0, done.stderr
        assert done.stdout == formats.write(form, store.load(saved))
    assert os.listdir(saved) == [store.RECORD]  # noqa: PTH208
    assert kdelta("report", saved, "--format", "junit", "--output", "out.xml").stdout == ""
    assert (tmp_path / "out.xml").read_text().startswith("<?xml")
    wrong = kdelta("report", "--output", "out.xml")
    assert (wrong.returncode, "--format is one of junit, ktap" in wrong.stderr) == (2, True)


def asks(tmp_path: Path, fakelinux: Path, **report: object) -> Path:
    """A pipeline.yaml for a series without patches, which needs neither build nor guest."""
    (tmp_path / "nothing").mkdir()
    asked = {"kernel": f"git:{fakelinux}", "series": "nothing", "arches": ["arm64"], "report": report}
    (tmp_path / "pipeline.yaml").write_text(json.dumps(asked))
    return tmp_path / "out"


def test_run_writes_the_forms_of_pipeline_yaml_beside_the_report(
    kdelta: Kdelta, fakelinux: Path, tmp_path: Path
) -> None:
    out = asks(tmp_path, fakelinux, formats=list(config.FORMATS), origin="mylab")
    done = kdelta("run", "--out", out, KDELTA_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert {form.file for form in FORMATS.values()} < {path.name for path in out.iterdir()}
    assert json.loads((out / "kcidb.json").read_text())["checkouts"][0]["origin"] == "mylab"


def test_a_form_that_is_not_known_is_named_with_its_place(kdelta: Kdelta, fakelinux: Path, tmp_path: Path) -> None:
    asks(tmp_path, fakelinux, formats=["junit", "sarfi"])
    done = kdelta("run")
    assert done.returncode == 2
    assert "no format 'sarfi'; did you mean 'sarif'?" in done.stderr
