"""A small cluster with a bit of everything, and people on it: jobs can be made to wait for every reason."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from footplate.client import Client
from footplate.handle import Job
from footplate.profile import Profile
from footplate_spec import JobSpec, JobState, ReasonCode, Why

from .kernel import Kernel, Ran
from .whole import Whole

__all__ = ["Notebook", "People", "Told", "full_disk", "normal", "settings"]


def _node(name: str, flavor: str, gpu: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "flavor": flavor, "gpu": gpu, "cpu": 8, "memory": "16Gi", "declared": True, **more}


CLUSTERS = [
    {
        "name": "local",
        "nodes": [
            _node("h1", "h100", 8, address="127.0.0.11", labels={"rack": "a"}, levels=["a"]),
            _node("h2", "h100", 8, address="127.0.0.12", labels={"rack": "b"}, levels=["b"]),
            _node("a1", "a100", 4, address="127.0.0.21"),
            _node("l1", "l40", 8),
            _node("t1", "t4", 4),
        ],
    },
    {"name": "annex", "nodes": [_node("x1", "h100", 4)]},
]
GROUPS = [
    {
        "name": "research/vision",
        "per_person": {"running": 4, "gpus": 22},
        "quotas": [{"flavor": "l40", "gpu": 2, "borrowing_limit": {"gpu": 2}}],
    },
    {
        "name": "sales",
        "quotas": [
            {"flavor": "l40", "gpu": 6},
            {"flavor": "a100", "gpu": 2, "borrowing_limit": {"gpu": 0}},
        ],
    },
]
_PART = 0.1  # of what is free on this machine's disk: below so much less, the platform starts nothing


def settings(folder: Path) -> dict[str, Any]:
    """``footplate.yaml``."""
    enough = int(shutil.disk_usage(folder).free * (1 - _PART))
    return {"clusters": CLUSTERS, "groups": GROUPS, "limits": {"disk_free": enough}}


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """A large file, taken and given back without a byte being written."""
    file = folder / "large"
    with file.open("wb") as large:
        os.posix_fallocate(large.fileno(), 0, int(shutil.disk_usage(folder).free * 2 * _PART))
    try:
        yield
    finally:
        file.unlink()


def normal(text: str) -> str:
    """Without what is another each time: the end of an id, and a guess in seconds."""
    text = re.sub(r" It probably starts .*?(, [^.|]*)\.", "", text)
    text = re.sub(r"\d+(\.\d+)?[TGM]i are left", "… are left", text)
    text = re.sub(r"when \d+(\.\d+)?[TGM]i are free", "when … are free", text)
    return re.sub(r"\b([a-z]+)-[a-z0-9]{6}\b", r"\1-…", text)


@dataclass(frozen=True)
class Told:
    """What ``%why`` showed, and the structure behind it."""

    text: str
    html: str
    why: Why

    @property
    def code(self) -> ReasonCode | None:
        """Of the reason that is shown."""
        return self.why.reason.code if self.why.reason else None

    @property
    def sentence(self) -> str:
        """Why it waits."""
        return self.text.splitlines()[0]

    @property
    def offers(self) -> list[str]:
        """What would start it, the first one being change 1."""
        return [fix.sentence for fix in self.why.fixes]


@dataclass
class People:
    """Others who use the platform at the same time."""

    platform: Whole
    _clients: dict[str, Client] = field(default_factory=dict)

    def client(self, name: str) -> Client:
        """A connection of one of them."""
        if name not in self._clients:
            profile = Profile(self.platform.url, fixed_token=f"token-{name}")
            self._clients[name] = Client(profile, patience=5)
        return self._clients[name]

    @contextlib.contextmanager
    def running(
        self, name: str, gpus: int, flavor: str, command: str = "exec sleep 600", **more: Any
    ) -> Iterator[Job]:
        """A job of somebody's that runs until the block ends."""
        role = {"resources": {"gpu": gpus, "flavor": flavor, "cpu": "100m", "memory": "64Mi"}}
        spec = JobSpec.model_validate({"name": "theirs", "command": command, "roles": [role], **more})
        client = self.client(name)
        job = Job(client, client.submit(spec))
        try:
            until(lambda: job.state == JobState.RUNNING, job)
            yield job
        finally:
            end(job)

    def close(self) -> None:
        """Let them go."""
        for client in self._clients.values():
            client.close()


class Notebook:
    """The notebook of somebody who asks why."""

    def __init__(self, kernel: Kernel, client: Client) -> None:
        self.kernel = kernel
        self.client = client
        self.run("%load_ext footplate")
        self.run(
            "import footplate as fp\n"
            "def ask(name='job', command='echo done', **o):\n"
            "    o = {'cpu': '100m', 'memory': '64Mi', 'group': 'research/vision', 'workspace': None, **o}\n"
            "    globals()[name] = fp.submit(command, name='train' if name == 'job' else name, **o)\n"
        )

    def run(self, code: str) -> Ran:
        """Run a cell, which must end well."""
        ran = self.kernel.run(code)
        assert not ran.error, ran.traceback
        assert "UsageError" not in ran.stderr, ran.stderr
        return ran

    def ask(self, name: str = "job", **options: Any) -> Job:
        """Submit a job by that name of its handle."""
        words = ", ".join(f"{word}={value!r}" for word, value in options.items())
        self.run(f"ask({name!r}, {words})")
        job = self.run(f"print({name}.id)").stdout.strip()
        return Job(self.client, self.client.job(job))

    def why(self, code: ReasonCode | None, name: str = "job") -> Told:
        """What ``%why`` shows once the queue has come to this reason."""
        job = Job(self.client, self.client.job(self.run(f"print({name}.id)").stdout.strip()))
        until(lambda: code is None or ((r := job.refresh().reason) is not None and r.code == code), job)
        [shown] = self.run(f"%why {name}").shown
        raw = self.run(f"print({name}._told.model_dump_json())").stdout
        told = Told(shown["text/plain"], shown["text/html"], Why.model_validate(json.loads(raw)))
        assert told.code == code, told.text
        return told

    def apply(self, number: int, name: str = "job") -> str:
        """What ``%why --apply`` says; the job has then done what it was to do."""
        said = self.run(f"%why --apply {number} {name}").stdout
        self.succeeds(name)
        return said

    def succeeds(self, name: str = "job") -> None:
        """Wait for a job's good end."""
        ran = self.run(f"{name}.wait(20.0); print({name}.state, {name}.logs())")
        assert ran.stdout.startswith("succeeded done"), ran.stdout


def until(done: Callable[[], bool], what: Any) -> None:
    """Wait for something, a short while."""
    limit = time.monotonic() + 20
    while not done():
        assert time.monotonic() < limit, what
        time.sleep(0.01)


def end(job: Job) -> None:
    """Stop a job, and wait until it is gone."""
    with contextlib.suppress(Exception):
        job.cancel()
    until(lambda: job.done, job)
