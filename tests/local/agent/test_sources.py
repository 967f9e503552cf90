"""Code, packages, data and secrets: how they get to the program, and one sentence when they do not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.agent import digest_of, eventually
from support.githost import https_host, ssh_host


def tree(service, files):
    """A tree of (path, bytes) or (path, mode, bytes or target)."""
    entries = []
    for path, *rest in files:
        mode, content = rest if len(rest) == 2 else ("file", rest[0])
        if mode == "link":
            entries.append({"path": path, "mode": "link", "target": content})
        else:
            digest = service.put(content)
            entries.append({"path": path, "mode": mode, "size": len(content), "digest": digest})
    return service.put(json.dumps({"kind": "tree/1", "files": entries}).encode())


def workspace(digest):
    return {"workspace": {"digest": digest}}


# Workspaces


def test_a_workspace_arrives_with_modes_and_links(replica, service):
    digest = tree(
        service,
        [
            ("train.py", b"import pkg.net; print(pkg.net.X)"),
            ("pkg/net.py", b"X = 42"),
            ("pkg/__init__.py", b""),
            ("run.sh", "executable", b"#!/bin/sh\nexec python train.py\n"),
            ("latest", "link", "pkg/net.py"),
        ],
    )
    one = replica(source=workspace(digest), command="./run.sh && cat latest")

    one.run()

    assert one.log == "42\nX = 42"


def test_files_that_did_not_change_travel_once(replica, service):
    files = [(f"data/{i}.txt", str(i).encode()) for i in range(500)]
    first = replica(source=workspace(tree(service, files)), command="ls data | wc -l", index=0)
    first.run()
    service.requests.clear()

    second = replica(
        source=workspace(tree(service, [*files, ("new.txt", b"new")])), command="ls data | wc -l", index=1
    )
    second.run()

    assert first.log == second.log == "500\n"
    assert sum(path.startswith("agent/blobs/") for _, path in service.requests) == 2


def test_a_cached_file_that_was_changed_is_fetched_again(replica, service, tmp_path):
    digest = tree(service, [("a.txt", b"right")])
    replica(source=workspace(digest), command="cat a.txt", index=0).run()
    name = digest_of(b"right").removeprefix("sha256:")
    (tmp_path / "cache" / "blobs" / name[:2] / name).write_bytes(b"wrong")

    one = replica(source=workspace(digest), command="cat a.txt", index=1)
    one.run()

    assert one.log == "right"


def test_a_program_that_changes_its_files_does_not_change_the_cache(replica, service):
    digest = tree(service, [("a.txt", b"right")])
    replica(source=workspace(digest), command="echo wrong > a.txt", index=0).run()

    one = replica(source=workspace(digest), command="cat a.txt", index=1)
    one.run()

    assert one.log == "right"


@pytest.mark.parametrize(
    "entries",
    [
        [{"path": "../x", "mode": "file", "digest": digest_of(b"")}],
        [{"path": "/etc/x", "mode": "file", "digest": digest_of(b"")}],
        [{"path": "a//b", "mode": "file", "digest": digest_of(b"")}],
        [{"path": "a", "mode": "link", "target": "/etc/passwd"}],
        [{"path": "a", "mode": "link", "target": "../../x"}],
        [{"path": "a", "mode": "link", "target": "."}, {"path": "a/b", "digest": digest_of(b"")}],
        [{"path": "a", "digest": digest_of(b"")}, {"path": "a", "digest": digest_of(b"")}],
        [{"path": "a", "mode": "device", "digest": digest_of(b"")}],
        "nonsense",
    ],
)
def test_a_hostile_tree_is_refused_though_the_service_checked(replica, service, entries):
    service.put(b"")
    digest = service.put(json.dumps({"kind": "tree/1", "files": entries}).encode())

    ended = replica(source=workspace(digest), command="true").run()

    assert (ended["ran"], ended["cause"]["code"]) == (False, "CodeFetch")
    assert "The workspace was refused" in ended["cause"]["message"]


def test_a_corrupt_blob_is_a_code_fetch(replica, service):
    digest = tree(service, [("a.txt", b"right")])
    service.blobs[digest_of(b"right")] = b"wrong"

    ended = replica(source=workspace(digest), command="true").run()

    assert ended["cause"]["code"] == "CodeFetch"
    assert "corrupt" in ended["cause"]["message"]


# git


@pytest.fixture
def git(tmp_path):
    def run(*arguments, cwd=tmp_path):
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "GIT_AUTHOR_NAME": "ada",
            "GIT_AUTHOR_EMAIL": "ada@example.org",
            "GIT_COMMITTER_NAME": "ada",
            "GIT_COMMITTER_EMAIL": "ada@example.org",
        }
        done = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *arguments],
            cwd=cwd, env=env, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    return run


def repository(git, path: Path, files):
    path.mkdir()
    git("init", "-q", "-b", "main", cwd=path)
    for name, text in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    git("add", ".", cwd=path)
    git("commit", "-q", "-m", "first", cwd=path)
    return git("rev-parse", "HEAD", cwd=path)


def test_the_recorded_commit_is_checked_out_though_the_branch_moved(replica, git, tmp_path):
    repo = tmp_path / "repo"
    commit = repository(git, repo, {"sub/a.txt": "old"})
    (repo / "sub/a.txt").write_text("new")
    git("commit", "-q", "-a", "-m", "second", cwd=repo)
    source = {"git": {"url": str(repo), "ref": "main", "commit": commit, "path": "sub"}}

    one = replica(source=source, command="cat a.txt; git rev-parse HEAD")
    one.run()

    assert one.log == f"old{commit}\n"


def test_submodules_come_along(replica, git, tmp_path):
    repository(git, tmp_path / "inner", {"b.txt": "inner"})
    repository(git, tmp_path / "outer", {"a.txt": "outer"})
    git("submodule", "add", "-q", str(tmp_path / "inner"), "inner", cwd=tmp_path / "outer")
    git("commit", "-q", "-m", "with submodule", cwd=tmp_path / "outer")
    commit = git("rev-parse", "HEAD", cwd=tmp_path / "outer")
    source = {"git": {"url": str(tmp_path / "outer"), "commit": commit, "submodules": True}}

    one = replica(source=source, command="cat a.txt inner/b.txt")
    one.run()

    assert one.log == "outerinner"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"commit": "0" * 40}, "could not be fetched from"),
        ({"url": "/no/such/repository"}, "could not be fetched from"),
        ({"path": "missing"}, "has no folder 'missing'"),
        ({"url": "ext::sh -c 'touch /tmp/owned'"}, "could not be fetched from"),
    ],
    ids=["commit", "address", "path", "ext"],
)
def test_code_that_cannot_be_fetched_is_explained(replica, git, tmp_path, change, said):
    commit = repository(git, tmp_path / "repo", {"a.txt": "a"})
    source = {"git": {"url": str(tmp_path / "repo"), "ref": "main", "commit": commit, **change}}

    ended = replica(source=source, command="true").run()

    assert (ended["ran"], ended["cause"]["code"]) == (False, "CodeFetch")
    assert said in ended["cause"]["message"]


def test_a_repository_runs_none_of_its_hooks(replica, git, tmp_path):
    commit = repository(git, tmp_path / "repo", {"a.txt": "a"})
    templates = tmp_path / "templates" / "hooks"
    templates.mkdir(parents=True)
    (templates / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    (templates / "post-checkout").chmod(0o755)
    source = {"git": {"url": str(tmp_path / "repo"), "commit": commit}}

    ended = replica(source=source, command="true", env={"GIT_TEMPLATE_DIR": str(templates.parent)}).run()

    assert ended["exit_code"] == 0
    assert not (tmp_path / "hooked").exists()


def test_a_ref_without_a_commit_is_told_once_it_is_known(replica, service, git, tmp_path):
    commit = repository(git, tmp_path / "repo", {"a.txt": "a"})
    one = replica(source={"git": {"url": str(tmp_path / "repo"), "ref": "main"}}, command="cat a.txt")

    assert one.run()["exit_code"] == 0

    told = [report.get("environment", {}) for reports in service.reports.values() for report in reports]
    assert {"git_commit": commit}.items() <= {k: v for one in told for k, v in one.items()}.items()


@pytest.mark.parametrize("token", ["s3cr3t-token", "wrong-token"])
def test_a_private_repository_opens_with_its_token_alone(replica, service, git, tmp_path, token):
    commit = repository(git, tmp_path / "repo", {"a.txt": "private"})
    service.secrets["git"] = {"value": token}
    with https_host(tmp_path, "s3cr3t-token") as host:
        source = {"git": {"url": f"{host}/repo/.git", "commit": commit, "secret": "github"}}
        one = replica(source=source, command="cat a.txt; git config --list; env", secrets=True)
        ended = one.run()

    assert "s3cr3t" not in one.log
    if token == "s3cr3t-token":
        assert (ended["exit_code"], one.log[:7]) == (0, "private")
    else:
        assert ended["cause"]["code"] == "CodeFetch"
        assert "could not be fetched from" in ended["cause"]["message"]


@pytest.mark.parametrize("key", ["the right key", "another key"])
def test_a_private_repository_opens_over_ssh_with_its_key(replica, service, git, tmp_path, key):
    commit = repository(git, tmp_path / "repo", {"a.txt": "private"})
    host = ssh_host(tmp_path / "bin", "the right key\n")
    service.secrets["git"] = {"value": key}
    source = {"git": {"url": f"ssh://git@example.org{tmp_path}/repo", "commit": commit, "secret": "deploy"}}

    one = replica(source=source, command="cat a.txt", secrets=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{host}:{os.environ['PATH']}")
        ended = one.run()

    if key == "the right key":
        assert (ended["exit_code"], one.log) == (0, "private")
    else:
        assert ended["cause"]["code"] == "CodeFetch"
        assert "Permission denied" in ended["cause"]["message"]
    assert [
        path for path in one.path.rglob("*") if path.is_file() and key.encode() in path.read_bytes()
    ] == []


def test_a_git_token_is_never_shown(replica, service):
    service.secrets["git"] = {"value": "s3cr3t-token"}
    source = {"git": {"url": f"{service.url}private.git", "commit": "0" * 40, "secret": "github"}}
    one = replica(source=source, command="true", secrets=True)

    ended = one.run()

    assert ended["cause"]["code"] == "CodeFetch"
    assert "s3cr3t" not in json.dumps(service.reports[one.token])
    left = [path for path in one.path.rglob("*") if path.is_file() and b"s3cr3t" in path.read_bytes()]
    assert left == []


# Packages


@pytest.fixture
def index(tmp_path):
    """A package index on disk that holds one small wheel."""
    folder = tmp_path / "simple" / "tinypkg"
    folder.mkdir(parents=True)
    wheel = folder / "tinypkg-1.0-py3-none-any.whl"
    meta = "tinypkg-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tinypkg.py", "WHERE = 'overlay'\n")
        archive.writestr(f"{meta}/METADATA", "Metadata-Version: 2.1\nName: tinypkg\nVersion: 1.0\n")
        archive.writestr(f"{meta}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(
            f"{meta}/RECORD", f"tinypkg.py,,\n{meta}/METADATA,,\n{meta}/WHEEL,,\n{meta}/RECORD,,\n"
        )
    (folder / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    return {"index_url": f"file://{tmp_path}/simple"}


def test_an_overlay_adds_packages_to_the_users_own_and_is_made_once(replica, index, service):
    setup = {"pip": ["tinypkg"], "script": "echo scripted > $VIRTUAL_ENV/mark", "time_limit": 120}
    code = "import tinypkg, cloudpickle, sys; print(tinypkg.WHERE, open(sys.prefix + '/mark').read().strip())"
    first = replica(setup=setup, indexes=index, command=["python", "-c", code], index=0)
    first.run()
    second = replica(setup=setup, indexes=index, command=["python", "-c", code], index=1)
    second.run()

    assert first.log == second.log == "overlay scripted\n"
    assert any(report["state"] == "preparing" for report in service.reports[first.token])
    overlays = os.listdir(Path(first.start["cache"]) / "overlays")
    assert len(overlays) == 1


def test_a_package_that_is_not_there_is_named(replica, index):
    ended = replica(setup={"pip": ["no-such-package"]}, indexes=index, command="true").run()

    assert (ended["ran"], ended["cause"]["code"]) == (False, "DependencyInstall")
    assert "no-such-package" in ended["cause"]["message"]


def test_a_set_up_script_that_fails_or_hangs_is_explained(replica):
    failed = replica(setup={"script": "echo about to; no-such-tool"}, command="true", index=0).run()
    hung = replica(setup={"script": "sleep 100", "time_limit": 3}, command="true", index=1).run()

    assert failed["cause"]["code"] == hung["cause"]["code"] == "DependencyInstall"
    assert "no-such-tool" in failed["cause"]["message"]
    assert "setup.time_limit (3 s)" in hung["cause"]["message"]


def test_a_stop_interrupts_the_installation(replica, service):
    one = replica(setup={"script": "sleep 100"}, command="true")
    keeper = one.keep()
    eventually(lambda: service.reports.get(one.token))

    service.want(stop={"reason": "cancelled", "grace": 1})

    assert keeper.wait(20) == 0
    assert (service.exit()["ran"], service.exit()["stopped"]) == (False, "cancelled")


def test_a_python_that_is_not_there_is_explained(replica):
    ended = replica(python={"version": "3.99", "executable": "/no/python3.99"}, command="true").run()

    assert ended["cause"]["code"] == "DependencyInstall"
    assert "3.99" in ended["cause"]["message"]


# Data, secrets, outputs


def test_volumes_are_where_the_code_expects_them(replica, tmp_path):
    data = tmp_path / "volume"
    data.mkdir()
    (data / "a.csv").write_text("1,2\n")
    absolute = tmp_path / "mnt" / "scratch"
    mounts = [
        {"host": str(data), "path": "data/in", "name": "train-data"},
        {"host": str(data), "path": str(absolute), "name": "scratch"},
    ]
    one = replica(
        mounts=mounts, command=f"cat data/in/a.csv $FOOTPLATE_DATA_TRAIN_DATA/a.csv {absolute}/a.csv"
    )

    one.run()

    assert one.log == "1,2\n" * 3


@pytest.mark.parametrize("case", ["missing", "taken"])
def test_a_volume_that_cannot_be_shown_is_named(replica, tmp_path, case):
    (tmp_path / "there").mkdir()
    mount = {"host": "/no/such/folder", "path": "data", "name": "scratch"}
    if case == "taken":
        mount = {"host": str(tmp_path / "there"), "path": "/etc", "name": "scratch"}

    ended = replica(mounts=[mount], command="true").run()

    assert (ended["ran"], ended["cause"]["code"]) == (False, "DataNotReady")
    assert "Volume 'scratch'" in ended["cause"]["message"]


def test_secrets_arrive_as_variable_and_file_and_are_gone_afterwards(replica, service):
    service.secrets = {"env": {"WANDB_KEY": "abc"}, "files": {"ssh-key": "def"}, "git": None}
    one = replica(secrets=True, command="echo $WANDB_KEY; cat $SSH_KEY; stat -c %a $SSH_KEY")

    one.run()

    assert one.log == "abc\ndef600\n"
    assert not (one.path / "secrets").exists()


def test_the_output_folder_comes_back_as_a_tree(replica, service):
    one = replica(
        command="cd $FOOTPLATE_OUTPUT && mkdir m && echo w > m/weights && ln -s m/weights best && "
        "touch tool && chmod +x tool && ln -s /nowhere broken"
    )

    ended = one.run()

    files = json.loads(service.blobs[ended["files"]])["files"]
    assert [(file["path"], file["mode"]) for file in files] == [
        ("best", "link"),
        ("m/weights", "file"),
        ("tool", "executable"),
    ]
    assert service.blobs[files[1]["digest"]] == b"w\n"
    assert "broken is no file" in one.log


def test_a_job_without_footplate_gets_the_stand_in_and_a_real_one_wins(replica, tmp_path, service):
    real = tmp_path / "site"
    (real / "footplate").mkdir(parents=True)
    (real / "footplate" / "__init__.py").write_text("NAME = 'real'\n")
    show = "import footplate as f; print(f.NAME if hasattr(f, 'NAME') else f.output().name)"
    bare = [sys.executable, "-S", "-c", show]

    without = replica(command=bare, index=0)
    without.run()
    with_real = replica(command=["python", "-c", show], env={"PYTHONPATH": str(real)}, index=1)
    with_real.run()
    installed = replica(command=["python", "-c", "import footplate; print(footplate.__file__)"], index=2)
    installed.run()

    assert without.log == "output\n"
    assert with_real.log == "real\n"
    assert "extension/footplate" in installed.log


# Gangs


def test_a_node_whose_address_is_not_of_this_machine_meets_on_loopback(replica, service):
    one = replica(gang=True, replicas=2, address="203.0.113.7", command="echo $MASTER_ADDR")
    keeper = one.keep()

    ready = eventually(lambda: [r for r in service.reports.get(one.token, []) if r["state"] == "ready"])
    service.want(one.token, env={"MASTER_ADDR": ready[0]["address"]})

    assert keeper.wait(20) == 0
    assert one.log == "127.0.0.1\n"


def test_a_gang_of_three_starts_together_with_its_rendezvous(replica, service):
    show = "echo $RANK/$WORLD_SIZE at $MASTER_ADDR:$MASTER_PORT"
    gang = [replica(index=i, gang=True, replicas=3, command=show) for i in range(3)]
    keepers = [one.keep() for one in gang]

    def ready():
        found = [
            report
            for one in gang
            for report in service.reports.get(one.token, [])[-1:]
            if report["state"] == "ready"
        ]
        return found if len(found) == 3 else None

    reports = eventually(ready)
    master = reports[0]
    for rank, one in enumerate(gang):
        env = {
            "RANK": str(rank),
            "WORLD_SIZE": "3",
            "MASTER_ADDR": master["address"],
            "MASTER_PORT": str(master["port"]),
        }
        service.want(one.token, env=env)

    assert [keeper.wait(30) for keeper in keepers] == [0, 0, 0]
    assert [one.log for one in gang] == [f"{rank}/3 at 127.0.0.1:{master['port']}\n" for rank in range(3)]
    assert len({report["port"] for report in reports}) == 3
