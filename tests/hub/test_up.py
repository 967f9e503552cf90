"""``footplate up``, ``down``, ``status`` and ``open``: what they refuse, and in which words."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.up import Home, home, wait_until


@pytest.fixture
def fresh() -> Iterator[Home]:
    """A home without a platform."""
    with home() as found:
        yield found


def test_a_second_up_says_so_with_a_link_and_another_port_is_refused(running: Home) -> None:
    again = running.footplate("up", "--detach")
    other = running.footplate("up", "--detach", "--port", str(running.port + 100), check=False)

    assert f"is already up (process {running.pid('supervisor')})" in again.stdout
    assert f"http://127.0.0.1:{running.port}/hub/link?token=" in again.stdout
    assert other.returncode == 3
    assert f"on port {running.port}; to change it, run 'footplate down' first" in other.stderr


def test_a_folder_keeps_its_ports(running: Home) -> None:
    before = json.loads((running.data / "platform.json").read_text())["ports"]

    running.down()
    done = running.footplate("up", "--detach", "--json")

    assert json.loads(done.stdout)["link"].startswith(running.address)
    assert json.loads((running.data / "platform.json").read_text())["ports"] == before


def test_status_and_doctor_tell_what_runs(running: Home) -> None:
    said = running.footplate("status").stdout
    read = json.loads(running.footplate("status", "--json").stdout)
    doctor = json.loads(running.footplate("doctor", "--json", check=False).stdout)

    assert f"is up at {running.address}" in said
    assert read["ready"]
    assert read["seconds_to_ready"] > 0
    assert read["children"].keys() == {"service", "hub", "traefik"}
    checks = {check["check"]: check["ok"] for check in doctor}
    assert (checks["proxy"], checks["disk"], checks["supervisor"]) == (True, True, True)


def test_a_full_log_is_kept_in_two_bounded_files(tmp_path: Path) -> None:
    from footplate_hub.supervisor.logs import rotate

    with (tmp_path / "hub.log").open("ab") as held_by_a_child:
        held_by_a_child.write(b"old\n" * 50)
        held_by_a_child.flush()

        rotate(tmp_path, largest=100)
        held_by_a_child.write(b"new\n")

    assert (tmp_path / "hub.log").read_text() == "new\n"
    assert (tmp_path / "hub.log.1").read_text() == "old\n" * 50


def test_a_port_in_use_names_its_program_and_leaves_no_trace(fresh: Home) -> None:
    with socket.create_server(("127.0.0.1", fresh.port)):
        refused = fresh.footplate("up", "--detach", "--port", str(fresh.port), check=False)

    assert refused.returncode == 3
    assert f"port {fresh.port}, needed for the platform" in refused.stderr
    assert f"process {os.getpid()}" in refused.stderr
    assert "--port" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert fresh.processes() == {}


def test_inner_ports_move_out_of_the_way_of_other_programs(fresh: Home) -> None:
    with socket.create_server(("127.0.0.1", fresh.port + 1)):
        fresh.up()

    ports = json.loads((fresh.data / "platform.json").read_text())["ports"]
    assert fresh.port + 1 not in ports.values()


def test_a_folder_that_others_can_look_into_is_refused(fresh: Home) -> None:
    fresh.data.mkdir()
    fresh.data.chmod(0o755)

    refused = fresh.footplate("up", "--detach", check=False)

    assert refused.returncode == 3
    assert f"chmod 700 {fresh.data}" in refused.stderr


def test_a_wrong_setting_is_named_before_anything_starts(fresh: Home) -> None:
    config = fresh.path / "footplate.yaml"
    config.write_text("groops: []\n")

    refused = fresh.footplate(
        "up", "--detach", "--config", str(config), "--port", str(fresh.port), check=False
    )

    assert refused.returncode == 3
    assert "groops" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_the_one_person_is_in_every_group_of_the_settings(fresh: Home) -> None:
    fresh.data.mkdir(mode=0o700)
    (fresh.data / "footplate.yaml").write_text("groups: [{name: research/vision}, {name: teaching}]\n")
    fresh.up()

    visitor = fresh.visitor()
    visitor.get("/services/footplate/login")

    assert visitor.get("/services/footplate/me").json()["groups"] == ["research/vision", "teaching"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")
def test_a_full_disk_is_one_sentence(fresh: Home) -> None:
    fresh.data.mkdir(mode=0o700)
    mounted = os.system(f"mount -t tmpfs -o size=1m,mode=700 tmpfs {fresh.data} 2>/dev/null")
    if mounted != 0:
        pytest.skip("needs the right to mount a small disk")
    try:
        refused = fresh.footplate("up", "--detach", check=False)
    finally:
        os.system(f"umount {fresh.data}")

    assert refused.returncode == 3
    assert "is full" in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_a_part_that_cannot_start_is_named_with_the_last_line_of_its_log(fresh: Home) -> None:
    fresh.data.mkdir(mode=0o700)
    (fresh.data / "jupyterhub_config.py").write_text("raise RuntimeError('my own mistake')\n")

    refused = fresh.footplate("up", "--detach", "--port", str(fresh.port), check=False)

    assert refused.returncode == 3
    assert "the hub cannot start" in refused.stderr
    assert fresh.processes() == {}


def test_down_and_open_without_a_platform_say_how_to_start_one(fresh: Home) -> None:
    for verb in ("down", "open", "status"):
        refused = fresh.footplate(verb, check=False)

        assert refused.returncode == 3
        assert "start it with 'footplate up'" in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_to_the_foreground_leaves_nothing_behind(fresh: Home, number: signal.Signals) -> None:
    process = fresh.in_foreground()
    fresh.visitor().start_machine()

    process.send_signal(number)

    assert process.wait(40) == 0
    wait_until(lambda: fresh.processes() == {}, limit=15)
    assert not (fresh.data / "status.json").exists()


def test_everything_in_the_folder_is_the_persons_alone(running: Home) -> None:
    parts = [running.data, *(running.data / name for name in ("hub", "service", "login", "log", "proxy"))]

    assert {stat.S_IMODE(part.stat().st_mode) for part in parts} == {0o700}


def test_several_people_need_root(fresh: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from footplate_hub.supervisor.errors import UpError
    from footplate_hub.supervisor.prepare import Wishes, prepare

    monkeypatch.setattr(os, "geteuid", lambda: 4711)

    with pytest.raises(UpError, match="needs root"):
        prepare(Wishes(fresh.data, multi_user=True))


def test_the_supervisor_has_no_threads_when_it_forks(running: Home) -> None:
    tasks = os.listdir(f"/proc/{running.pid('supervisor')}/task")

    assert len(tasks) == 1, sys.version
