"""The magics in a real kernel: output as it comes, interrupts, wrong calls, variables home."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.kernel import Kernel, kernel
from support.notebook import TOKEN, Service


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kernel, Service, Path]]:
    service = Service()
    service.start()
    home, work = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("work")
    variables = {"FOOTPLATE_URL": service.url, "FOOTPLATE_TOKEN": TOKEN, "HOME": str(home)}
    with kernel(work, {**variables, "IPYTHONDIR": str(home / "ipython")}) as started:
        assert not started.run("%load_ext footplate\nimport numpy as np").error
        yield started, service, work
    service.stop()


@pytest.fixture
def k(running) -> Iterator[Kernel]:
    yield running[0]
    running[1].hold = None
    running[1].failures = []
    for file in running[2].iterdir():
        file.unlink()


@pytest.fixture
def service(running) -> Service:
    return running[1]


@pytest.fixture
def work(running) -> Path:
    return running[2]


def test_a_cell_takes_variables_and_brings_them_back(k):
    k.run("X = np.arange(6.0); rate = 0.5")

    ran = k.run(
        "%%train -i X -i rate -o total -o halves --as trained\n"
        "total = X.sum()\nhalves = X * rate\nprint('ok')"
    )

    assert ran.stdout == "sending X 176 B, rate 21 B\nok\n"
    assert "total=15.0" in k.run("print(f'{total=!s} {halves[-1]}', trained.state)").stdout
    assert k.run("print(halves[-1], trained.state)").stdout == "2.5 succeeded\n"


def test_a_script_gets_its_own_arguments(k, work):
    (work / "train.py").write_text("import sys; print(sys.argv[1:])\n")

    ran = k.run("%train --name digits train.py --lr 3e-4 --name x -d")

    assert ran.stdout == "sending 1 file, 32 B\n['--lr', '3e-4', '--name', 'x', '-d']\n"
    assert "digits-" in k.run("print(job.id)").stdout


def test_secrets_stay_here_and_are_named(k, work, service):
    (work / "train.py").write_text("import os; print(sorted(os.listdir()))\n")
    (work / ".env").write_text("KEY=hunter2")
    (work / "id_rsa").write_text("hunter2")

    ran = k.run("%train train.py")

    assert ran.stdout.splitlines() == [
        "sending 1 file, 39 B",
        "left behind: 2 files that may hold secrets (.env, id_rsa)",
        "['train.py']",
    ]
    assert not [content for content in service.blobs.values() if b"hunter2" in content]


def test_output_arrives_while_the_job_runs(k, work):
    (work / "slow.py").write_text("import time\nprint('first')\ntime.sleep(1)\nprint('second')\n")
    seen: list[str] = []

    k.run("%train slow.py", lambda ran: bool(seen.append(ran.stdout)))

    assert any("first" in text and "second" not in text for text in seen)


def test_an_interrupt_detaches_and_another_kernel_may_attach(k, service):
    service.hold = {
        "position": 3,
        "sentence": "",
        "reason": {"code": "WaitingForCapacity", "message": "no GPU is free"},
    }

    ran = k.run("%%train -o answer\nanswer = 42", lambda ran: bool(ran.shown))

    waiting = ran.shown[0]["text/plain"]
    assert "position 3: no GPU is free" in waiting
    assert "which goes on; %attach job-" in ran.stdout or "which goes on; %attach cell-" in ran.stdout
    assert not ran.error
    held = list(service.jobs.values())[-1]
    assert held.state == "queued"

    threading.Thread(target=lambda: (time.sleep(0.3), service.run(held))).start()
    k.run(f"%attach --as again {held.id}")
    assert k.run("print(answer, again.id)").stdout == f"42 {held.id}\n"


def test_the_handle_is_there_before_the_wait(k, service):
    service.hold = {
        "sentence": "",
        "reason": {"code": "WaitingForQuota", "message": "the group uses all of it"},
    }
    k.run("%%train --as mine\nx = 1", lambda ran: bool(ran.shown))

    assert k.run("print(type(mine).__name__)").stdout == "Job\n"
    assert "cancelled" in k.run("%stop mine").stdout


def test_detaching_at_once_shows_the_handle_with_a_live_view(k, service):
    service.hold = {"sentence": "", "reason": {"code": "WaitingForCapacity", "message": "no <GPU> is free"}}

    shown = k.run("%%train -d\nx = 1").shown[0]

    assert "application/vnd.jupyter.widget-view+json" in shown
    assert "no &lt;GPU&gt; is free" in shown["text/html"]
    assert "queued" in shown["text/plain"]
    k.run("%stop")


def test_a_failed_cell_shows_the_remote_traceback_once(k):
    ran = k.run("%%train\ndef deep():\n    return 1 / 0\ndeep()")

    assert ran.error.startswith("RemoteError: ZeroDivisionError: division by zero")
    assert (ran.stdout + ran.traceback).count("return 1 / 0") <= 1
    assert "in deep" in ran.stdout
    assert "footplate/" not in ran.traceback


def test_a_syntax_error_is_shown_as_python_shows_it_and_nothing_is_sent(k, service):
    before = len(service.requests)

    ran = k.run("%%train\nx = = 1")

    assert ran.error == "CellSyntaxError: SyntaxError: invalid syntax"
    assert "x = = 1" in ran.traceback
    assert ran.traceback.endswith("\nSyntaxError: invalid syntax")
    assert "magics.py" not in ran.traceback
    assert len(service.requests) == before


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("%%train --gpu 1\nx = 1", "there is no option --gpu; did you mean --gpus?"),
        ("%%train --gpus -1\nx = 1", "gpus must be 0 or more, not -1"),
        ("%%train --gpus many\nx = 1", "'many' is not a valid integer"),
        ("%%train -i Y_train\nx = 1", "-i Y_train: there is no such variable here"),
        ("%%train -o y\nx = 1", "-o y: the cell never assigns y"),
        ("%%train -o 'x y'\nx = 1", "is not a variable's name"),
        ("%%train --as 1x\nx = 1", "is not a variable's name"),
        ("%%train\n\n", "the cell is empty"),
        ("%%train --timeout 2h\nx = 1", "there is no option --timeout; did you mean --time?"),
        ("%%train train.py\nx = 1", "%%train runs the cell below it"),
        ("%%train -i lock\nx = lock", "variable 'lock' (lock) cannot be sent: cannot pickle"),
        ("%train", "%train needs a script"),
        ("%train nothing.py", "there is no nothing.py in"),
        ("%train -i X train.py", "-i and -o go with a cell"),
        ("%train 'half", "the line cannot be read: no closing quotation"),
        ("%logs --replica x", "'x' is not a valid integer"),
        ("%attach", "Missing argument 'JOB'"),
    ],
)
def test_a_wrong_call_is_one_line_and_nothing_is_sent(k, service, code, sentence):
    k.run("import threading; lock = threading.Lock()")
    before = len(service.jobs)

    ran = k.run(code)

    said = [line for line in ran.stderr.splitlines() if line]
    assert len(said) == 1
    assert said[0].startswith("UsageError: ")
    assert sentence in said[0]
    assert len(service.jobs) == before


def test_a_job_that_is_not_there_is_one_sentence(k):
    ran = k.run("%why nothing-7k3f9m")

    assert ran.error == "NotFoundError: there is no nothing-7k3f9m here"
    assert len(ran.traceback.splitlines()) == 1


def test_lists_show_as_tables(k):
    k.run("%%train --name listed\nx = 1")

    jobs, quota = k.run("%jobs").shown[0], k.run("%quota").shown[0]

    assert "listed-" in jobs["text/plain"]
    assert "<table>" in jobs["text/html"]
    assert "research/vision  local/h100  gpu  2     8         4" in quota["text/plain"]


def test_logs_can_be_read_again(k):
    k.run("%%train --as once\nprint('said once')")

    assert k.run("%logs once").stdout == "said once\n"
    assert k.run("%logs -f once").stdout == "said once\n"


def test_a_service_that_restarts_is_waited_for(k, service):
    service.failures, service.failing = [503, "drop", 502], "jobs"

    assert k.run("%%train\nprint('after all')").stdout == "after all\n"


def test_the_platform_being_gone_is_one_sentence(k):
    ran = k.run("import os; url = os.environ.pop('FOOTPLATE_URL')\n%jobs")
    k.run("os.environ['FOOTPLATE_URL'] = url")

    assert ran.error.startswith("NotConfiguredError: no platform found: start one with 'footplate up'")


def test_help_lists_the_options(k):
    ran = k.run("%train --help")

    assert "--gpus" in ran.stdout
    assert not ran.error + ran.stderr
