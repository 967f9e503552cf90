"""Dev machines and kernels that end by themselves, or are ended, on a platform of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from support.up import Home, Visitor, seconds_until, wait_until


def test_a_killed_kernel_and_a_killed_dev_machine_start_again(running: Home, person: Visitor) -> None:
    kernel = person.start_kernel()
    kernel.run("1")
    os.kill(running.processes()["kernel"][0], signal.SIGKILL)
    seconds_until(lambda: kernel.run("6 * 7", seconds=3).text == "42")

    for kind in ("machine", "kernel"):
        for pid in running.processes().get(kind, []):
            os.kill(pid, signal.SIGKILL)
    # The hub looks every few seconds; until then its proxy still leads to the dead one.
    seconds_until(lambda: person.get(f"/user/{person.name}/api").status_code == 424)
    person.start_machine()

    assert person.start_kernel().run("6 * 7").text == "42"
    assert len(running.processes()["machine"]) == 1


def test_what_a_terminal_left_running_ends_with_its_dev_machine(running: Home, person: Visitor) -> None:
    kernel = person.start_kernel()
    kernel.run("import subprocess; p = subprocess.Popen(['sleep', '3600'], start_new_session=True)")
    pid = int(kernel.run("p.pid").text)

    running.down()

    wait_until(lambda: not os.path.exists(f"/proc/{pid}") or _is_zombie(pid), limit=15)
    wait_until(lambda: running.processes() == {}, limit=15)
    running.up()


def test_a_stray_dev_machine_ends_before_another_starts(running: Home) -> None:
    """A hub that was killed right after a start has not written the dev machine down."""
    variables = {
        **running.environment,
        "FOOTPLATE_DEV_OF": str(running.data),
        "JUPYTERHUB_USER": running.visitor().name,
        "JUPYTERHUB_SERVER_NAME": "",
    }
    stray = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=variables)
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=running.environment)
    try:
        person = running.visitor()

        person.start_machine()

        assert stray.wait(10) != 0
        assert other.poll() is None
    finally:
        for process in (stray, other):
            process.kill()
            process.wait()


def _is_zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "Z"
