"""Promise 1 under fire: jobs run while the service, agents and the hub are killed at random.

Each program notes that it ran and holds a lock while it lives, so the jobs themselves see "twice" and "two at
once"; nothing is inferred from the records of the platform.

``make prove`` runs it with 100 jobs and 50 kills.
"""

from __future__ import annotations

import glob
import json
import os
import random
import sys
import threading
import time
from pathlib import Path

import cloudpickle
import psutil
import pytest

from footplate.client import Client
from footplate.code import find_code
from footplate.handle import Job
from footplate.launch import function_job
from footplate.options import read_options
from footplate.profile import Profile
from support.platform import Platform, platform

JOBS = int(os.environ.get("FOOTPLATE_FAULT_JOBS", "30"))
KILLS = int(os.environ.get("FOOTPLATE_FAULT_KILLS", "15"))
SEED = int(os.environ.get("FOOTPLATE_FAULT_SEED", "1"))
NODES = "clusters: [{name: local, nodes: [{name: node-1, cpu: 8, memory: 64Gi}]}]\n"


def square_once(folder: str, number: int, seconds: float) -> int:
    """Note that it ran, shout if it runs beside itself, work a while."""
    import fcntl
    import os
    import time

    alive = os.open(f"{folder}/{number}.alive", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        open(f"{folder}/{number}.twice-alive", "w").close()
    with open(f"{folder}/{number}.ran", "a") as ran:
        ran.write(f"{os.getpid()}\n")
    for step in range(5):
        print(f"{number}: step {step}", flush=True)
        time.sleep(seconds / 5)
    return number * number


@pytest.mark.timeout(400)
def test_jobs_survive_kills_of_everything_around_them(tmp_path):
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    chance = random.Random(SEED)
    folder = tmp_path / "seen"
    folder.mkdir(mode=0o777)
    with platform(NODES) as running:
        client = Client(Profile(running.url, fixed_token=running.token), patience=120)
        killed: dict[str, int] = {}
        over = threading.Event()
        firing = threading.Thread(target=_kill, args=(running, chance, killed, over))
        firing.start()
        try:
            jobs = [_submit(client, folder, number, chance) for number in range(JOBS)]
            results = [job.result() for job in jobs]
            firing.join()
        finally:
            over.set()
            firing.join()
        logs = [job.logs() for job in jobs]
        attempts = [client.job(job.id).attempts for job in jobs]

    assert results == [number * number for number in range(JOBS)]
    assert [len((folder / f"{n}.ran").read_text().split()) for n in range(JOBS)] == [1] * JOBS
    assert list(folder.glob("*.twice-alive")) == []
    assert logs == ["".join(f"{n}: step {step}\n" for step in range(5)) for n in range(JOBS)]
    assert [len(each) for each in attempts] == [1] * JOBS
    assert sum(killed.values()) == KILLS
    assert len(killed) == 3, killed


def _submit(client: Client, folder: Path, number: int, chance: random.Random) -> Job:
    time.sleep(chance.uniform(0, 0.8))  # so that kills meet jobs of every age
    arguments = (str(folder), number, chance.uniform(0.5, 6))
    options = read_options({"cpu": "250m", "memory": "64Mi", "time": "10m"})
    return function_job(square_once, arguments, {}, find_code(workspace=None), options).send(client)


def _kill(running: Platform, chance: random.Random, killed: dict[str, int], over: threading.Event) -> None:
    """Kill the service, the hub or somebody's agent, ``KILLS`` times, at any instant."""
    while sum(killed.values()) < KILLS and not over.wait(chance.uniform(0.1, 0.8)):
        what = chance.choice(["service", "agent", "agent", "hub"])
        victims = _agents(running.folder) if what == "agent" else [pid for pid in [running.pid(what)] if pid]
        if not victims:
            continue
        try:
            victim = psutil.Process(chance.choice(victims))
            # Some die while they start, but not all of them: a service that never comes up proves nothing.
            if what != "agent" and time.time() - victim.create_time() < chance.uniform(0, 15):
                continue
            victim.kill()
        except psutil.NoSuchProcess:
            continue  # it is just being started again
        killed[what] = killed.get(what, 0) + 1


def _agents(folder: Path) -> list[int]:
    """The agents of this platform, by the name that they give themselves."""
    found = []
    # Folders vanish while this looks: `glob` passes over them, `Path.rglob` would not.
    for keeper in glob.glob(f"{folder}/service/replicas/*/*/keeper.json"):
        try:
            process = psutil.Process(json.loads(Path(keeper).read_text())["pid"])
            found += [child.pid for child in process.children() if child.name() == "footplate-agent"]
        except (psutil.Error, OSError, ValueError):
            continue  # it ended while we looked
    return found
