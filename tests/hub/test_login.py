"""Who gets in: whoever holds an unused link of the last five minutes, and nobody else at any port."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from support.up import Home, Kernel, Visitor


def test_without_a_link_one_page_says_how_to_get_one(running: Home) -> None:
    answer = httpx.get(f"{running.address}/hub/home", follow_redirects=True)

    assert answer.status_code == 403
    assert "footplate open" in answer.text


def test_a_link_works_once_and_leads_to_jupyterlab(running: Home) -> None:
    link = running.link()
    first, second = Visitor(running.address), Visitor(running.address)

    first.log_in(link)
    again = second.get(link.removeprefix(running.address))

    assert first.name
    assert again.status_code == 403
    assert "used already" in again.text
    assert "jupyterhub-hub-login" not in second.http.cookies


def test_of_eight_who_use_a_link_at_once_one_gets_in(running: Home) -> None:
    link = running.link()

    with ThreadPoolExecutor(8) as people:
        answers = list(people.map(lambda _: httpx.get(link, timeout=30).status_code, range(8)))

    assert sorted(answers) == [302] + [403] * 7


def test_a_link_older_than_five_minutes_is_refused(running: Home) -> None:
    link = running.link()
    for slip in (running.data / "login").iterdir():
        os.utime(slip, (time.time() - 301,) * 2)

    answer = httpx.get(link)

    assert answer.status_code == 403
    assert "older than 5 minutes" in answer.text


def test_a_link_can_open_a_notebook_and_nothing_outside_jupyterlab(running: Home) -> None:
    good = httpx.get(running.link("a folder/digits.ipynb")).headers["location"]
    outside = httpx.get(running.link("../../../hub/admin")).headers["location"]

    assert good == "/hub/user-redirect/lab/tree/a%20folder/digits.ipynb"
    assert outside == "/hub/user-redirect/lab"


def test_a_link_is_no_form_that_a_stranger_can_post(running: Home) -> None:
    answer = httpx.post(f"{running.address}/hub/login", data={"link": "true"})

    assert answer.status_code in {403, 405}
    assert "jupyterhub-hub-login" not in answer.cookies


def test_no_secret_is_in_a_log_or_an_argument_or_readable_by_others(running: Home, person: Visitor) -> None:
    link = running.link()
    person.get(link.removeprefix(running.address))
    secrets = [file.read_text().strip() for file in (running.data / "hub").glob("*_*") if file.is_file()]
    secrets += [(running.data / "client_token").read_text().strip(), link.rpartition("=")[2]]
    assert len(secrets) > 4

    logs = "".join(file.read_text(errors="replace") for file in (running.data / "log").iterdir())
    arguments = ""
    for pids in running.processes().values():
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                arguments += " ".join(psutil.Process(pid).cmdline())

    assert [secret for secret in secrets if secret in logs + arguments] == []
    assert stat.S_IMODE(running.data.stat().st_mode) == 0o700
    open_files = [
        file for file in running.data.rglob("*")
        if file.is_file() and file.stat().st_mode & 0o077 and not _below_private(running, file)
    ]  # fmt: skip
    assert open_files == []


def test_another_local_user_gets_nothing_at_any_port_without_a_token(running: Home, kernel: Kernel) -> None:
    kernel.run("secret = 'do not tell'")
    ports = _listening(running)
    assert len(ports) > 5  # proxy, its API, hub, service, JupyterLab, the kernel's

    paths = [
        "/api/http/routers", "/hub/api/users", "/services/footplate/jobs", "/services/footplate/me",
        f"/user/{_person(running)}/api/kernels", f"/user/{_person(running)}/api/contents",
    ]  # fmt: skip
    asked = list(itertools.product(sorted(ports), paths))
    with ThreadPoolExecutor(8) as strangers:  # what is no HTTP keeps each of them waiting
        answers = dict(zip(asked, strangers.map(_says_to_a_stranger, *zip(*asked, strict=True)), strict=True))

    assert {each: said for each, said in answers.items() if said not in {None, 302, 401, 403, 404, 405}} == {}


def test_what_a_kernel_says_is_not_to_be_heard_by_another_local_user(kernel: Kernel) -> None:
    zmq = pytest.importorskip("zmq")
    code = "import json, ipykernel; json.load(open(ipykernel.get_connection_file()))['iopub_port']"
    port = int(kernel.run(code).text)
    stranger = zmq.Context.instance().socket(zmq.SUB)
    try:
        stranger.connect(f"tcp://127.0.0.1:{port}")
        stranger.setsockopt(zmq.SUBSCRIBE, b"")

        kernel.run("print('do not tell')")

        assert not stranger.poll(1000)
    finally:
        stranger.close(linger=0)


def test_a_browser_and_a_notebook_may_use_the_service(running: Home, person: Visitor, kernel: Kernel) -> None:
    before = httpx.get(f"{running.address}/services/footplate/me")
    person.get("/services/footplate/login")
    by_cookie = person.get("/services/footplate/me").json()
    by_token = kernel.run("import footplate as fp; print(fp.me().name, fp.me().admin)").text.split()
    by_file = running.footplate("jobs", "--owner", person.name, "--json", check=False)

    assert before.status_code == 401
    assert by_cookie["name"] == person.name
    assert by_token == [person.name, "True"]
    assert by_file.returncode == 0


def _listening(running: Home) -> set[int]:
    ports = set()
    for pids in running.processes().values():
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                for connection in psutil.Process(pid).net_connections("tcp"):
                    if connection.status == psutil.CONN_LISTEN:
                        assert connection.laddr.ip in {"127.0.0.1", "::ffff:127.0.0.1"}, connection
                        ports.add(connection.laddr.port)
    return ports


def _says_to_a_stranger(port: int, path: str) -> int | None:
    """The status, or None where nothing that is HTTP answers."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=2).status_code
    except (httpx.HTTPError, OSError):
        return None


def _person(running: Home) -> str:
    return json.loads((running.data / "platform.json").read_text())["person"]


def _below_private(running: Home, file: Path) -> bool:
    parents = [parent for parent in file.parents if running.data in parent.parents]
    return any(not parent.stat().st_mode & 0o077 for parent in parents)
