"""Which files travel, which stay behind, and that nothing is read twice."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from footplate import WrongCallError, snapshot
from footplate.code import find_code
from footplate.workspace import select
from footplate_spec import Tree


def _write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def _git(folder: Path, *words: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always"]
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


def _paths(folder: Path) -> list[str]:
    return [found.path for found in select(folder).files]


def _tree(taken: snapshot.Snapshot) -> dict[str, str]:
    assert isinstance(taken.tree.content, bytes)
    return {file.path: file.mode for file in Tree.model_validate_json(taken.tree.content).files}


def test_what_git_tracks_or_does_not_ignore_travels(here):
    _write(here, "tracked.py", "fresh.py", "data/big.csv", "sub/deep.py", "name with\nnewline")
    (here / ".gitignore").write_text("data/\n")
    _git(here, "init")
    _git(here, "add", "tracked.py")

    assert _paths(here) == [".gitignore", "fresh.py", "name with\nnewline", "sub/deep.py", "tracked.py"]


def test_a_folder_inside_a_repository_is_sent_by_itself(here):
    _write(here, "top.py", "part/main.py", "part/notes.log")
    (here / ".gitignore").write_text("*.log\n")
    _git(here, "init")

    assert _paths(here / "part") == ["main.py"]


def test_a_file_that_was_deleted_by_hand_does_not_travel(here):
    _write(here, "gone.py", "kept.py")
    _git(here, "init")
    _git(here, "add", ".")
    (here / "gone.py").unlink()

    assert _paths(here) == ["kept.py"]


def test_submodules_travel_with_their_contents(here, tmp_path):
    _write(tmp_path / "lib", "code.py")
    _git(tmp_path / "lib", "init")
    _git(tmp_path / "lib", "add", ".")
    _git(tmp_path / "lib", "commit", "-m", "x")
    _git(here, "init")
    _git(here, "submodule", "add", str(tmp_path / "lib"), "vendor/lib")
    _write(here, "vendor/lib/.env")

    selection = select(here)

    assert [found.path for found in selection.files] == [".gitmodules", "vendor/lib/code.py"]
    assert selection.secrets == ["vendor/lib/.env"]


def test_without_git_every_gitignore_counts_and_footplateignore_too(here):
    _write(here, "a.py", "skip.tmp", "out/x", "sub/keep.tmp", "sub/drop.bin", "sub/own.log", "huge.dat")
    (here / ".gitignore").write_text("*.tmp\nout/\n")
    (here / "sub" / ".gitignore").write_text("!keep.tmp\n*.bin\n")
    (here / ".footplateignore").write_text("huge.dat\n")

    assert _paths(here) == [
        ".footplateignore",
        ".gitignore",
        "a.py",
        "sub/.gitignore",
        "sub/keep.tmp",
        "sub/own.log",
    ]


def test_a_folder_that_git_ignores_is_sent_as_a_folder(here):
    _git(here, "init")
    (here / ".gitignore").write_text("scratch/\n")
    _write(here, "scratch/run.py")

    assert _paths(here / "scratch") == ["run.py"]


def test_a_repository_that_git_refuses_is_not_sent_in_the_bare(here):
    (here / ".git").mkdir()
    (here / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (here / ".git" / "config").write_text("[core\n")
    _write(here, "private.txt")

    with pytest.raises(WrongCallError, match="git cannot list"):
        select(here)


@pytest.mark.parametrize(
    "name",
    [".env", ".env.local", "id_rsa", "deploy/ID_ED25519", "certs/server.pem", "tls.key", ".netrc",
     "home/.aws/credentials", ".ssh/config", ".git-credentials", ".docker/config.json", ".pypirc",
     ".footplate/client.json", "store.p12"],
)  # fmt: skip
def test_what_looks_like_a_secret_stays_even_when_it_is_tracked(here, name):
    _write(here, name, "main.py")
    _git(here, "init")
    _git(here, "add", "-f", ".")

    selection = select(here)

    assert [found.path for found in selection.files] == ["main.py"]
    assert selection.left_behind() == [f"1 file that may hold secrets ({name})"]


def test_caches_and_environments_stay(here):
    _write(
        here,
        "main.py",
        "__pycache__/m.pyc",
        ".ipynb_checkpoints/x.ipynb",
        "venv/pyvenv.cfg",
        "venv/bin/python",
    )
    _write(here, "node_modules/x/i.js")

    assert _paths(here) == ["main.py"]


def test_links_inside_travel_and_links_out_of_the_folder_stay(here, tmp_path):
    _write(here, "a/real.txt")
    _write(tmp_path, "outside.txt")
    (here / "inner").symlink_to("a/real.txt")
    (here / "absolute").symlink_to(here / "a" / "real.txt")
    (here / "outer").symlink_to(tmp_path / "outside.txt")
    (here / "up").symlink_to("../outside.txt")
    (here / "folder").symlink_to("a")
    (here / "a" / "chain").symlink_to("../outer")

    taken = snapshot.snapshot(here)

    assert _tree(taken) == {"a/real.txt": "file", "absolute": "link", "folder": "link", "inner": "link"}
    assert taken.selection.left_behind() == ["3 files that link out of the folder (a/chain, outer, up)"]


def test_sockets_pipes_and_odd_names_stay_and_are_named(here, monkeypatch):
    _write(here, "main.py")
    os.mkfifo(here / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("sock")
    (Path(os.fsencode(here).decode()) / os.fsdecode(b"caf\xe9.txt")).write_text("x")

    selection = select(here)

    assert [found.path for found in selection.files] == ["main.py"]
    assert sorted(selection.odd) == ["caf�.txt", "pipe", "sock"]


def test_the_executable_bit_travels(here):
    _write(here, "run.sh", "plain.sh")
    (here / "run.sh").chmod(0o755)

    assert _tree(snapshot.snapshot(here)) == {"plain.sh": "file", "run.sh": "executable"}


def test_a_workspace_over_the_limit_is_refused_with_the_heaviest_entries(here):
    _write(here, "main.py")
    (here / "data").mkdir()
    (here / "data" / "x.bin").write_bytes(b"0" * 5000)

    with pytest.raises(
        WrongCallError, match=r"is 4.9Ki, over the limit of 1Ki \(data/ 4.9Ki, main.py 7\); keep data"
    ):
        snapshot.snapshot(here, limit=1024)


def test_a_file_that_did_not_change_is_not_read_again(here, monkeypatch):
    _write(here, "old.py", "new.py")
    past = time.time() - 100
    for name in ("old.py", "new.py"):
        os.utime(here / name, (past, past))
    monkeypatch.setattr(snapshot, "_RACY", -1.0)  # the change times of files just made are now
    first = snapshot.snapshot(here)
    read: list[str] = []
    real = snapshot._digest
    monkeypatch.setattr(snapshot, "_digest", lambda file: read.append(file.name) or real(file))

    (here / "new.py").write_text("NEW.py")
    second = snapshot.snapshot(here)

    assert read == ["new.py"]
    assert first.tree.digest != second.tree.digest


def test_a_file_written_a_moment_ago_is_never_taken_from_memory(here):
    _write(here, "a.py")
    first = snapshot.snapshot(here)
    status = (here / "a.py").stat()
    (here / "a.py").write_text("A.PY")
    os.utime(here / "a.py", ns=(status.st_atime_ns, status.st_mtime_ns))

    assert snapshot.snapshot(here).tree.digest != first.tree.digest


def test_a_damaged_memory_costs_time_only(here, tmp_path):
    _write(here, "a.py")
    cache = snapshot.DigestCache(here)
    cache._file.parent.mkdir(parents=True)
    cache._file.write_text('{"a.py": 7')

    assert len(snapshot.snapshot(here).blobs) == 1


def test_a_file_that_cannot_be_read_is_named(here):
    _write(here, "locked.bin")
    selection = select(here)
    (here / "locked.bin").unlink()

    with pytest.raises(WrongCallError, match=r"locked.bin cannot be read .*\.footplateignore"):
        snapshot.snapshot(here, selection=selection)


def test_a_home_folder_does_not_go_with_a_cell_by_itself(tmp_path, here, monkeypatch):
    monkeypatch.chdir(tmp_path / "home")
    _write(tmp_path / "home", "diary.txt")

    assert find_code().source == {}


def test_a_small_project_goes_with_a_cell_and_a_crowded_folder_does_not(here):
    _write(here, "model.py")
    assert "workspace" in find_code().source

    for n in range(2001):
        (here / f"{n}.txt").touch()

    crowded = find_code()
    assert crowded.source == {}
    assert crowded.warnings == ["this folder (more than 2000 files) stays here; --workspace . sends it"]


def _repository(folder: Path) -> str:
    _write(folder, "main.py")
    _git(folder, "init", "-b", "main")
    _git(folder, "add", ".")
    _git(folder, "commit", "-m", "x")
    _git(folder, "tag", "-a", "v1", "-m", "annotated")
    return subprocess.check_output(["git", "-C", str(folder), "rev-parse", "HEAD"], text=True).strip()


@pytest.mark.parametrize("ref", [None, "main", "v1", "refs/heads/main"])
def test_a_ref_is_resolved_to_the_commit_that_it_means_now(here, ref):
    commit = _repository(here)

    assert find_code(None, git=f"file://{here}", ref=ref).source["git"]["commit"] == commit


def test_a_ref_that_is_not_there_is_said_and_a_commit_must_be_whole(here):
    commit = _repository(here)

    with pytest.raises(WrongCallError, match="has no branch or tag 'mian'"):
        find_code(None, git=f"file://{here}", ref="mian")
    with pytest.raises(WrongCallError, match="a commit must be given whole"):
        find_code(None, git=f"file://{here}", ref=commit[:10])
    assert find_code(None, git=f"file://{here}", ref=commit).source["git"]["commit"] == commit


def test_a_repository_that_cannot_be_read_from_here_is_left_to_the_job(here):
    code = find_code(None, git=f"file://{here}/nowhere", ref="main")

    assert code.source["git"] == {"url": f"file://{here}/nowhere", "ref": "main"}
    assert "cannot be read from here; the job will try" in code.warnings[0]
