"""What a job calls, in a job and by hand; and how little it costs to import."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import footplate as fp
from footplate import inside


def test_reports_are_lines_of_json(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTPLATE_METRICS", str(tmp_path / "metrics-1"))

    fp.report(step=10, loss=0.5, accuracy=np.float32(0.25))
    fp.report(loss=math.nan, other=1)

    first, second = map(json.loads, (tmp_path / "metrics-1").read_text().splitlines())
    assert (first["step"], first["values"]) == (10, {"loss": 0.5, "accuracy": 0.25})
    assert (second["step"], second["values"]) == (None, {"other": 1})


def test_what_is_no_number_is_said(monkeypatch):
    with pytest.raises(TypeError, match="report: loss must be a number, not str"):
        fp.report(loss="low")


def test_the_same_calls_work_by_hand(here, capsys, monkeypatch):
    for name in ("FOOTPLATE_METRICS", "FOOTPLATE_CHECKPOINT", "FOOTPLATE_OUTPUT"):
        monkeypatch.delenv(name, raising=False)

    fp.report(step=1, loss=0.5)

    assert capsys.readouterr().err == "step 1: loss=0.5\n"
    assert fp.checkpoint().is_dir()
    assert fp.output().is_dir()


def test_the_folders_are_the_jobs(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTPLATE_OUTPUT", str(tmp_path / "out"))

    assert fp.output() == tmp_path / "out"


def test_the_newest_whole_checkpoint_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("FOOTPLATE_CHECKPOINT", str(tmp_path))
    assert fp.resume() is None

    for name in ("step-1", "step-2", "step-3.tmp", ".hidden"):
        (tmp_path / name).touch()

    assert fp.resume() == tmp_path / "step-2"


def test_being_asked_to_stop_is_an_answer_instead_of_an_end():
    code = (
        "import footplate, os, signal; print(footplate.stopping()); os.kill(os.getpid(), signal.SIGTERM); "
        "print(footplate.stopping())"
    )

    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\nTrue\n"


def test_the_stand_in_of_other_images_has_the_same_names():
    import footplate_agent

    standin = Path(footplate_agent.__file__).parent / "standin" / "footplate" / "__init__.py"
    code = f"__all__ = {sorted(inside.__all__)!r}"

    assert code.replace("'", '"') in standin.read_text()


def test_importing_it_and_reporting_load_none_of_the_client():
    code = (
        "import sys, footplate; footplate.report; "
        "heavy = {'httpx', 'pydantic', 'IPython', 'click', 'numpy', 'footplate_spec'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )

    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"


def test_every_name_that_is_promised_is_there():
    for name in fp.__all__:
        assert getattr(fp, name) is not None
    assert set(fp.__all__) <= set(dir(fp))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = fp.trian
