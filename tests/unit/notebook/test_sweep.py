"""One function over many arguments."""

from __future__ import annotations

import cloudpickle
import pytest

import footplate as fp
from footplate.errors import WrongCallError


def fit(lr, depth=1):
    return lr * depth


@pytest.mark.parametrize(
    ("grid", "results"),
    [
        ({"lr": [1, 10], "depth": [1, 2]}, [1, 2, 10, 20]),
        ([{"lr": 3}, {"lr": 4, "depth": 2}], [3, 8]),
        (range(3), [0, 1, 2]),
    ],
    ids=["grid", "arguments", "values"],
)
def test_every_run_calls_the_function_with_its_own_arguments(client, service, monkeypatch, grid, results):
    client.blobs.send([])
    fp.map(fit, grid, at_once=2, workspace=None)
    sent = service.specs[0]
    assert sent["array"] == {"count": len(results), "at_once": 2}
    assert sent["name"] == "fit"
    function, args, kwargs = cloudpickle.loads(service.blobs[sent["source"]["function"]["payload"]["digest"]])
    found = []
    for index in range(len(results)):
        monkeypatch.setenv("FOOTPLATE_ARRAY_INDEX", str(index))
        found.append(function(*args, **kwargs))
    assert found == results


def test_nothing_to_run_and_what_is_no_function_are_refused(client, service):
    for function, grid in ((fit, []), (fit, {}), ("fit", [1])):
        with pytest.raises(WrongCallError):
            fp.map(function, grid)
    assert not service.specs


def test_a_grid_is_typed_or_given(client, service):
    client.blobs.send([])
    fp.submit(["true"], workspace=None, grid=["lr=0.1,1e-2", "opt=sgd"], at_once=4)
    fp.submit(["true"], workspace=None, grid={"lr": (0.1, 0.01)})
    assert service.specs[0]["array"] == {"grid": {"lr": [0.1, 0.01], "opt": ["sgd"]}, "at_once": 4}
    assert service.specs[1]["array"] == {"grid": {"lr": [0.1, 0.01]}}
    with pytest.raises(WrongCallError, match="at_once goes with array or grid"):
        fp.submit(["true"], workspace=None, at_once=4)
