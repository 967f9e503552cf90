"""Kill any part: kernels and what is in them live on, and everything works again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import psutil
import pytest

from support.up import Home, Kernel, Visitor, run_cell, seconds_until, wait_until


@pytest.fixture(autouse=True)
def _quiet_before_and_after(running: Home, kernel: Kernel) -> Iterator[None]:
    """Each test begins and ends with one of everything, and with the same kernel and dev machine."""
    kernel.run("kept = 'before'")
    before = running.processes()
    yield
    wait_until(lambda: running.processes().keys() >= before.keys(), limit=30)
    after = running.processes()
    assert {kind: len(pids) for kind, pids in after.items()} == {
        kind: len(pids) for kind, pids in before.items()
    }
    assert (after["kernel"], after["machine"]) == (before["kernel"], before["machine"])


@pytest.mark.parametrize(
    "victims", [["traefik"], ["hub"], ["service"], ["traefik", "hub", "service"]], ids=" and ".join
)
def test_after_sigkill_the_kernel_is_the_same_and_everything_works_again(
    running: Home, person: Visitor, kernel: Kernel, victims: list[str]
) -> None:
    restarts = {name: running.status()[name]["restarts"] for name in victims}

    running.kill(*victims)

    _all_works(running, person, kernel)
    now = running.status()
    assert {name: now[name]["restarts"] for name in victims} == {n: r + 1 for n, r in restarts.items()}
    assert all("SIGKILL" in now[name]["why"] for name in victims)


@pytest.mark.parametrize("victim", ["hub", "service"])
def test_an_open_notebook_does_not_notice_that_hub_or_service_died(
    running: Home, kernel: Kernel, victim: str
) -> None:
    async def across() -> str:
        async with kernel.channel() as socket:
            await run_cell(socket, "1")
            await asyncio.to_thread(running.kill, victim)
            return (await run_cell(socket, "kept")).text

    assert asyncio.run(across()) == "'before'"


def test_a_killed_supervisor_leaves_no_half_platform_and_the_next_up_takes_over(
    running: Home, person: Visitor, kernel: Kernel
) -> None:
    supervisor = running.pid("supervisor")

    os.kill(supervisor, signal.SIGKILL)
    # A fork server that nobody talks to ends a little later.
    wait_until(lambda: running.processes().keys() - {"fork server"} == {"kernel", "machine"}, limit=10)
    running.up()

    _all_works(running, person, kernel)


def test_a_browser_session_survives_everything(running: Home, person: Visitor) -> None:
    person.get("/services/footplate/login")

    running.kill("traefik", "hub", "service")

    seconds_until(lambda: person.get("/hub/home").url.path == "/hub/home")
    seconds_until(lambda: person.get("/services/footplate/me").json()["name"] == person.name)


def test_dev_machines_stay_where_they_are_through_an_upgrade(
    running: Home, person: Visitor, kernel: Kernel
) -> None:
    running.down("--keep-servers")
    left = running.processes().keys()
    running.up()

    assert left == {"kernel", "machine"}
    _all_works(running, person, kernel)


def test_a_reused_process_number_is_not_taken_for_a_dev_machine(running: Home, person: Visitor) -> None:
    """The hub's note of a dead dev machine names somebody else's process now; that one is left alone."""
    from footplate_spawner.processes import carries

    mark = {
        "FOOTPLATE_DEV_OF": str(running.data),
        "JUPYTERHUB_USER": person.name,
        "JUPYTERHUB_SERVER_NAME": "",
    }
    machine = running.processes()["machine"][0]

    assert carries(machine, mark)
    assert not carries(os.getpid(), mark)
    assert not carries(running.pid("hub"), mark)


def _all_works(running: Home, person: Visitor, kernel: Kernel) -> None:
    seconds_until(lambda: kernel.run("kept").text == "'before'")
    seconds_until(lambda: running.answers("/services/footplate/healthz"))
    seconds_until(
        lambda: kernel.run("import footplate as fp; print(fp.me().name)").text.strip() == person.name
    )
    seconds_until(lambda: person.get("/hub/home").status_code == 200)
    wait_until(lambda: not _zombies(running), limit=10)


def _zombies(running: Home) -> list[psutil.Process]:
    """Ended processes that the supervisor has not buried."""
    try:
        children = psutil.Process(running.pid("supervisor")).children()
    except psutil.Error:
        return []
    return [child for child in children if child.status() == psutil.STATUS_ZOMBIE]
