"""Values as bytes and back; what cannot travel is named."""

from __future__ import annotations

import io
import sys
import threading

import numpy as np
import pandas as pd
import pyarrow
import pytest

from footplate import FootplateError, UnpicklableError, WrongCallError, values
from footplate.interpreter import check_pickles_open_here, interpreter


def _round_trip(value):
    encoded = values.encode(value, "variable 'x'")
    content = encoded.blob.read(0, encoded.blob.size)
    assert len(content) == encoded.blob.size
    return encoded.payload.encoding, values.decode(encoded.payload, io.BytesIO(content), "'x'")


@pytest.mark.parametrize(
    "array",
    [np.arange(6).reshape(2, 3), np.asfortranarray(np.ones((3, 4), "f4")), np.array(3.5), np.zeros((0, 2)),
     np.array(["a", "bc"]), np.array([(1, 2.0)], dtype=[("n", "i4"), ("v", "f8")]), np.arange(10)[::2]],
    ids=["2d", "fortran", "scalar", "empty", "text", "record", "strided"],
)  # fmt: skip
def test_arrays_travel_as_npy_without_pickle(array):
    encoding, back = _round_trip(array)

    assert encoding == "npy"
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)


@pytest.mark.parametrize(
    "value", [1, "text", {"a": [1, None]}, np.float64(2.5), np.ma.masked_array([1, 2], [0, 1])], ids=repr
)
def test_everything_else_is_pickled(value):
    encoding, back = _round_trip(value)

    assert encoding == "pickle"
    assert type(back) is type(value)
    assert str(back) == str(value)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"n": [1, 2], "s": ["a", None]}, index=pd.Index(["x", "y"], name="key")),
        pd.DataFrame(
            {"when": pd.to_datetime(["2024-01-01", "2024-01-02"], utc=True), "c": pd.Categorical(["u", "v"])}
        ),
        pd.DataFrame({"empty": pd.Series([], dtype="float32")}),
    ],
    ids=["index", "times and categories", "empty"],
)
def test_tables_travel_as_arrow_with_their_types(frame):
    encoding, back = _round_trip(frame)

    assert encoding == "arrow"
    pd.testing.assert_frame_equal(back, frame)


def test_an_arrow_table_comes_back_as_one():
    table = pyarrow.table({"n": [1, 2], "l": [[1], []]})

    encoding, back = _round_trip(table)

    assert encoding == "arrow"
    assert back.equals(table)


def test_a_table_of_objects_is_pickled():
    frame = pd.DataFrame({"o": [{1: 2}, threading.Event]})

    encoding, back = _round_trip(frame)

    assert encoding == "pickle"
    pd.testing.assert_frame_equal(back, frame)


def test_an_array_of_objects_is_pickled():
    encoding, back = _round_trip(np.array([{"a": 1}, None], dtype=object))

    assert encoding == "pickle"
    assert back[0] == {"a": 1}


def test_a_lambda_and_a_class_of_this_notebook_travel_by_value():
    factor = 3
    _, back = _round_trip(lambda x: x * factor)

    assert back(2) == 6


@pytest.mark.parametrize(
    "value", [threading.Lock(), (n for n in range(3)), sys._getframe()], ids=["lock", "generator", "frame"]
)
def test_what_cannot_travel_is_named_with_the_reason(value):
    with pytest.raises(
        UnpicklableError, match=r"^variable 'x' \(.*\) cannot be sent: .*; create it inside the job"
    ):
        values.encode(value, "variable 'x'")


def test_a_value_whose_own_pickling_raises_is_named():
    class Strange:
        def __reduce__(self):
            raise KeyError("no state")

    with pytest.raises(UnpicklableError, match="'no state'"):
        values.encode(Strange(), "variable 's'")


def test_a_value_over_the_limit_is_refused_before_it_fills_the_disk(monkeypatch):
    monkeypatch.setattr(values, "VALUE_LIMIT", 1000)

    with pytest.raises(WrongCallError, match=r"variable 'x' is over 1000; write it to a volume"):
        values.encode(np.zeros(1000), "variable 'x'")


def test_bytes_that_are_no_array_are_one_sentence():
    payload = values.encode(np.ones(2), "x").payload

    with pytest.raises(FootplateError, match="'x' of job-1 cannot be opened: ValueError"):
        values.decode(payload, io.BytesIO(b"not an array"), "'x' of job-1")


def test_a_pickle_that_needs_a_missing_package_names_it(tmp_path, monkeypatch):
    (tmp_path / "gone_soon.py").write_text("class Thing: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import gone_soon

    encoded = values.encode(gone_soon.Thing(), "x")
    monkeypatch.undo()
    del sys.modules["gone_soon"]

    with pytest.raises(FootplateError, match="'x' needs gone_soon that is not installed here"):
        values.decode(encoded.payload, io.BytesIO(encoded.blob.read(0, 1000)), "'x'")


def _python(tmp_path, version, cloudpickle="3.1.0"):
    fake = tmp_path / f"python{version}"
    told = f'{{"version": "{version}", "cloudpickle": "{cloudpickle}", "path": []}}'
    fake.write_text(f"#!/bin/sh\necho '{told}'\n")
    fake.chmod(0o755)
    return str(fake)


def test_another_minor_version_is_refused_where_values_travel_and_not_for_a_script(tmp_path):
    other = _python(tmp_path, "3.99")

    with pytest.raises(
        WrongCallError, match=r"is Python 3\.99 and this notebook is Python 3\.\d+: variables and"
    ):
        interpreter(other, pickles=True)
    assert interpreter(other, pickles=False)[0].version == "3.99"


def test_another_cloudpickle_is_refused(tmp_path):
    here = f"{sys.version_info.major}.{sys.version_info.minor}"

    with pytest.raises(WrongCallError, match=r"has cloudpickle 99\.0 and this notebook 3\."):
        interpreter(_python(tmp_path, here, "99.0"), pickles=True)


def test_the_packages_of_this_interpreter_are_recorded():
    python, packages = interpreter(None, pickles=True)

    assert python.executable == sys.executable
    assert python.packages == packages.digest
    assert f"numpy=={np.__version__}\n".encode() in packages.content


def test_a_result_of_another_minor_version_is_refused_before_it_is_opened():
    with pytest.raises(WrongCallError, match=r"pickled by Python 3\.7 and this is Python"):
        check_pickles_open_here("3.7", "digits-7k3f9m")
