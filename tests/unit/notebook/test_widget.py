"""The live view as a front end sees it: traits that follow the job, a button that stops it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.kernel import Kernel, kernel
from support.notebook import TOKEN, Service


class Page:
    """The front end's side of the comms: every model's state, as the messages make it."""

    def __init__(self, running: Kernel) -> None:
        self.kernel = running
        self.models: dict[str, dict[str, Any]] = {}

    def watch(self, until: Callable[[], bool], limit: float = 20) -> None:
        end = time.monotonic() + limit
        while not until():
            assert time.monotonic() < end, self.models
            message = self.kernel.client.get_iopub_msg(timeout=limit)
            content = message["content"]
            if message["msg_type"] == "comm_open":
                self.models[content["comm_id"]] = dict(content["data"]["state"])
            elif message["msg_type"] == "comm_msg" and content["data"].get("method") == "update":
                self.models.setdefault(content["comm_id"], {}).update(content["data"]["state"])

    def view(self) -> dict[str, Any]:
        """The newest view's traits."""
        return next((state for state in reversed(self.models.values()) if "tail" in state), {})

    def press(self, what: dict[str, Any]) -> None:
        comm = next(name for name, state in self.models.items() if "tail" in state)
        content = {"comm_id": comm, "data": {"method": "custom", "content": what}}
        self.kernel.client.shell_channel.send(self.kernel.client.session.msg("comm_msg", content))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[Page, Service]]:
    service = Service()
    service.start()
    service.hold = {
        "position": 2,
        "sentence": "",
        "reason": {"code": "WaitingForQuota", "message": "0 of 8 GPUs left"},
    }
    variables = {"FOOTPLATE_URL": service.url, "FOOTPLATE_TOKEN": TOKEN, "HOME": str(tmp_path)}
    with kernel(tmp_path, variables) as running:
        page = Page(running)
        running.client.execute("%load_ext footplate\n%train -d --no-workspace sh -c 'echo said; sleep 60'")
        page.watch(lambda: page.view().get("sentence", "").startswith("position 2"))
        yield page, service
    service.stop()


def test_a_view_follows_its_job_to_the_end(opened):
    page, service = opened
    job = next(iter(service.jobs.values()))
    assert page.view()["sentence"] == "position 2: 0 of 8 GPUs left"
    assert "export default" in page.view()["_esm"]

    service.change(job, state="running", why=None)
    service.change(job, log=b"epoch 1\nepoch 2\n")
    points = [{"time": float(n), "step": n, "values": {"loss": 1 / n}} for n in range(1, 1001)]
    service.change(job, points=points)
    page.watch(lambda: page.view()["state"] == "running" and "loss" in page.view()["metrics"])
    service.change(job, state="failed", cause={"code": "UserError", "message": "it raised"})
    page.watch(lambda: page.view()["state"] == "failed")

    assert page.view()["tail"] == "epoch 1\nepoch 2\n"
    assert page.view()["sentence"] == "UserError: it raised"
    curve = page.view()["metrics"]["loss"]
    assert len(curve) <= 201
    assert curve[-1] == [1000.0, 0.001]


def test_the_button_stops_the_job(opened):
    page, service = opened

    page.press({"do": "stop"})
    page.watch(lambda: page.view()["state"] == "cancelled")

    assert next(iter(service.jobs.values())).state == "cancelled"


def test_a_handle_of_an_ended_job_shows_what_it_left(opened):
    page, service = opened
    job = next(iter(service.jobs.values()))
    service.change(job, state="succeeded", log=b"all done\n", why=None)
    page.watch(lambda: page.view()["state"] == "succeeded")
    before = len(page.models)

    page.kernel.client.execute(f"import footplate as fp; fp.attach({job.id!r})")
    page.watch(lambda: len(page.models) > before and page.view().get("tail") == "all done\n")

    assert page.view()["state"] == "succeeded"
