"""A notebook's cell or a function: values in, output as in the notebook, values and tracebacks back."""

from __future__ import annotations

import io
import pickle
import sys

import cloudpickle
import numpy as np
import pandas as pd
import pyarrow
import pyarrow.ipc
import pytest

from footplate_spec import ExitReport


@pytest.fixture
def cell(replica, service):
    """Runs a cell and gives its replica and its end."""

    def run(source, inputs=None, outputs=(), **start):
        function = {
            "payload": {"encoding": "source", "digest": service.put(source.encode())},
            "inputs": {
                name: {"encoding": encoding, "digest": service.put(data)}
                for name, (encoding, data) in (inputs or {}).items()
            },
            "outputs": list(outputs),
        }
        one = replica(source={"function": function}, command=None, **start)
        return one, ExitReport.model_validate(one.run())

    return run


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_a_cell_prints_shows_its_last_value_and_returns_variables(cell, service):
    source = "import math\nprint('in')\nroot = math.sqrt(x)\nroot"

    one, ended = cell(source, {"x": ("pickle", pickle.dumps(16))}, ["root"])

    assert one.log == "in\n4.0\n"
    assert ended.exit_code == 0
    assert ended.cause is None
    assert pickle.loads(service.blobs[ended.outputs["root"].digest]) == 4.0


def test_a_semicolon_silences_the_last_value(cell):
    one, _ = cell("1 + 1;  # not shown")

    assert one.log == ""


def test_arrays_travel_as_npy(cell, service):
    _, ended = cell("y = x * 2", {"x": ("npy", npy(np.arange(3)))}, ["y"])

    assert ended.outputs["y"].encoding == "npy"
    assert np.load(io.BytesIO(service.blobs[ended.outputs["y"].digest])).tolist() == [0, 2, 4]


def test_tables_travel_as_arrow_with_their_types_and_index(cell, service):
    frame = pd.DataFrame({"n": [1, 2], "s": ["a", None]}, index=pd.Index(["x", "y"], name="key"))
    table = io.BytesIO()
    arrow = pyarrow.Table.from_pandas(frame)
    with pyarrow.ipc.new_stream(table, arrow.schema) as writer:
        writer.write_table(arrow)

    _, ended = cell(
        "doubled = frame.assign(n=frame.n * 2)", {"frame": ("arrow", table.getvalue())}, ["doubled"]
    )

    assert ended.outputs["doubled"].encoding == "arrow"
    back = pyarrow.ipc.open_stream(service.blobs[ended.outputs["doubled"].digest]).read_all().to_pandas()
    pd.testing.assert_frame_equal(back, frame.assign(n=[2, 4]))


def test_tables_of_objects_are_pickled(cell):
    source = "import pandas as pd\nt = pd.DataFrame({'o': [{1: 2}, object()]})"
    _, ended = cell("class object: pass\n" + source, outputs=["t"])

    assert ended.outputs["t"].encoding == "pickle"


def test_arrays_of_objects_are_pickled(cell):
    _, ended = cell("import numpy as np\ny = np.array([{}, []], dtype=object)", outputs=["y"])

    assert ended.outputs["y"].encoding == "pickle"


def test_a_class_of_the_cell_comes_back(cell, service):
    _, ended = cell("class Model:\n    def predict(self): return 7\nm = Model()", outputs=["m"])

    assert cloudpickle.loads(service.blobs[ended.outputs["m"].digest]).predict() == 7


def test_a_cell_may_await(cell):
    one, _ = cell("import asyncio\nawait asyncio.sleep(0, 'slept')")

    assert one.log == "'slept'\n"


def test_a_traceback_shows_the_cell_and_nothing_of_ours(cell):
    one, ended = cell("def f(x):\n    return 1 / x\n\nf(0)")

    expected = (
        "Traceback (most recent call last):\n"
        '  File "<cell job-aaaaaa>", line 4, in <module>\n'
        "    f(0)\n"
        '  File "<cell job-aaaaaa>", line 2, in f\n'
        "    return 1 / x\n"
    )
    assert one.log.startswith(expected)
    assert one.log.endswith("ZeroDivisionError: division by zero\n")
    assert ended.traceback == one.log
    assert ended.error == "ZeroDivisionError: division by zero"
    assert ended.exit_code == 1
    assert ended.cause.message == "The program failed: ZeroDivisionError: division by zero"


def test_a_syntax_error_points_at_the_place(cell):
    one, ended = cell("x = 1\nfor for\n")

    assert ended.error == "SyntaxError: invalid syntax"
    assert '  File "<cell job-aaaaaa>", line 2' in one.log
    assert "runner.py" not in one.log


def test_an_output_that_was_never_assigned_is_named(cell):
    _, ended = cell("x = 1", outputs=["x", "model"])

    assert ended.error == "the cell was asked to return 'model', but never assigned it"
    assert ended.exit_code == 1


def test_an_output_that_cannot_travel_is_named(cell):
    _, ended = cell("gen = (i for i in [1])", outputs=["gen"])

    assert ended.error.startswith("output 'gen' (generator) cannot be sent back")


def test_an_input_that_cannot_be_opened_is_named(cell):
    _, ended = cell("x", {"x": ("pickle", b"\x80\x04cno_such_package\nThing\n.")})

    assert ended.error.startswith("input 'x' cannot be opened here: ModuleNotFoundError")


def test_another_python_version_is_refused_clearly(cell):
    _, ended = cell("x = 1", python={"version": "3.7", "executable": sys.executable})

    assert "written with Python 3.7, but this machine runs it with 3." in ended.error


def test_sys_exit_keeps_its_number(cell):
    _, ended = cell("import sys\nsys.exit(3)")

    assert ended.exit_code == 3


def test_an_input_that_is_gone_is_a_code_fetch(replica, service):
    payload = {"encoding": "source", "digest": f"sha256:{'0' * 64}"}

    ended = replica(source={"function": {"payload": payload}}, command=None).run()

    assert (ended["ran"], ended["cause"]["code"]) == (False, "CodeFetch")
    assert "The code could not be fetched: no such blob" in ended["cause"]["message"]


@pytest.fixture
def call(replica, service):
    def run(function, *args, **kwargs):
        data = cloudpickle.dumps((function, args, kwargs))
        payload = {"encoding": "pickle", "digest": service.put(data)}
        one = replica(source={"function": {"payload": payload, "inputs": {}, "outputs": []}}, command=None)
        return one, ExitReport.model_validate(one.run())

    return run


def test_a_function_returns_its_value(call, service):
    by_value = eval("lambda a, *, b: a * b")

    _, ended = call(by_value, 6, b=7)

    assert pickle.loads(service.blobs[ended.outputs["return"].digest]) == 42


def test_a_function_that_raises_gives_its_traceback(call):
    by_value = eval("lambda: [][1]")

    _, ended = call(by_value)

    assert ended.error == "IndexError: list index out of range"
    assert "runner.py" not in ended.traceback
