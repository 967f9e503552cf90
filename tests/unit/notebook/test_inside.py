"""What a job calls, in a job and by hand; and how little it costs to import."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest

import footplate as fp


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
