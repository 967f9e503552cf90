"""A notebook at the real platform: the service, its queue, keepers and agents; only the hub is a stand-in."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import footplate as fp
from footplate.handle import Job
from support.kernel import kernel

SLOW = "import time\nfor n in range(40):\n    print('line', n, flush=True); time.sleep(0.05)\n"


def test_a_cell_takes_variables_and_brings_them_back(k):
    k.run("X = np.arange(10.0); rate = 0.5")

    ran = k.run(
        "%%train -i X -i rate -o y -o total\ny = X * rate\ntotal = float(y.sum())\nprint('computed')\ntotal"
    )

    assert not ran.error, ran.traceback
    assert ran.stdout.endswith("computed\n22.5\n")
    assert k.run("print(total, y[-1], job.state)").stdout == "22.5 4.5 succeeded\n"


def test_a_script_reports_metrics_and_leaves_files(k, work):
    (work / "train.py").write_text(
        "import footplate, sys\n"
        "for step in range(3): footplate.report(step=step, loss=1 / (step + 1))\n"
        "(footplate.output() / 'model.txt').write_text('weights')\n"
        "print(sys.argv[1:])\n"
    )

    ran = k.run("%train train.py --lr 3e-4")

    assert not ran.error, ran.traceback
    assert ran.stdout.endswith("['--lr', '3e-4']\n")
    assert k.run("print(job.metrics().last()['loss'], len(job.metrics()))").stdout.startswith("0.333")
    assert k.run("print(job.download('out')[0].read_text())").stdout == "weights\n"


def test_a_failed_cell_shows_the_remote_traceback_as_it_was(k):
    ran = k.run("%%train\ndef deep(x):\n    return 1 / x\ndeep(0)")

    assert ran.error.startswith("RemoteError: ZeroDivisionError: division by zero (in cell-")
    told = ran.stdout + ran.traceback
    assert told.count("return 1 / x") == 1
    assert "in deep" in told
    assert "runner.py" not in told


def test_a_job_that_must_wait_says_why_and_goes_on_when_one_detaches(k, here, work):
    (work / "slow.py").write_text(SLOW)
    first = fp.submit(["sleep", "60"], workspace=None, gpus=2)

    ran = k.run("%train --gpus 1 --as second slow.py", lambda ran: bool(ran.shown))

    assert not ran.error
    assert "position 1" in ran.shown[0]["text/plain"]
    assert "which goes on; %attach slow-" in ran.stdout
    why = k.run("%why second").shown[0]["text/plain"]
    assert "GPU" in why
    first.cancel()
    attached = k.run("%attach second")
    assert attached.stdout == "".join(f"line {n}\n" for n in range(40))


def test_a_fresh_kernel_attaches_and_gets_the_variables(k, ada, work):
    k.run("%%train -d --as late -o answer\nimport time; time.sleep(1); print('worked'); answer = 42")
    job = k.run("print(late.id)").stdout.strip()

    with kernel(work, ada) as other:
        ran = other.run(f"%load_ext footplate\n%attach {job}\nprint(answer)")

    assert ran.stdout == "worked\n42\n"


def test_the_service_dies_while_a_cell_streams_and_not_a_byte_is_lost(k, work, platform):
    (work / "slow.py").write_text(SLOW)

    def die() -> None:
        platform.kill()
        platform.start()

    dying: list[threading.Thread] = []

    def when_it_streams(ran) -> bool:
        if "line 5" in ran.stdout and not dying:
            dying.append(threading.Thread(target=die))
            dying[0].start()
        return False

    ran = k.run("%train slow.py", when_it_streams)
    dying[0].join()

    assert not ran.error, ran.traceback
    assert ran.stdout.partition("\n")[2] == "".join(f"line {n}\n" for n in range(40))


def test_a_function_runs_in_a_gang(here):
    def rank():
        import os

        return os.environ["RANK"], os.environ["WORLD_SIZE"]

    assert fp.train(rank, replicas=2, cpu=1, workspace=None).result(60) == ("0", "2")


def test_git_is_fetched_at_its_commit(here, tmp_path):
    import subprocess

    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "main.py").write_text("print('from git')\n")
    for words in (
        ["init", "-b", "main"],
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@x", "commit", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(repository), *words], check=True, capture_output=True)

    job = fp.submit(["python", "main.py"], git=f"file://{repository}", ref="main").wait(60)

    assert job.logs() == "from git\n", job
    assert job.view().spec.source.git.commit


def test_a_stored_secret_reaches_the_job_and_nobody_else(here):
    fp.secrets.set("wandb-key", "s3cr3t")

    job = fp.submit("echo ${#WANDB_KEY} characters", secrets=["wandb-key"], workspace=None).wait(60)

    assert job.logs() == "6 characters\n", job
    assert "s3cr3t" not in repr(fp.secrets.list()) + job.view().model_dump_json()
    fp.secrets.delete("wandb-key")
    assert fp.secrets.list() == []


def test_a_queued_job_is_edited_and_a_running_one_extended_suspended_and_resumed(here):
    blocker = fp.submit(["sleep", "60"], workspace=None, gpus=2)
    queued = fp.submit(["sleep", "60"], workspace=None, gpus=1, priority="low")

    queued.edit(priority="normal", time="3h", gpus=2)
    view = queued.view()
    assert (view.spec.priority, view.time_limit, view.spec.roles[0].resources.gpu) == ("normal", 10800, 2)
    _until(lambda: blocker.state == "running")
    blocker.extend("+1h")
    assert blocker.view().time_limit == 25 * 3600
    blocker.suspend()
    _until(lambda: queued.state == "running")
    blocker.resume()
    assert blocker.state == "queued"
    with pytest.raises(fp.RefusedError, match="only its time limit"):
        queued.edit(gpus=1)
    blocker.cancel()
    queued.cancel()
    with pytest.raises(fp.JobCancelledError):
        queued.result(60)
    queued.delete()
    with pytest.raises(fp.NotFoundError):
        queued.view()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"group": "sales"}, "sales"),
        ({"priority": "urgent"}, "urgent"),
        ({"secrets": ["nobody-has-this"]}, "nobody-has-this"),
        ({"volumes": {"nowhere": "/x"}}, "nowhere"),
        ({"time": "90d"}, "48h|2d"),
        ({"cluster": "mars"}, "mars"),
    ],
    ids=str,
)
def test_what_the_platform_refuses_is_its_sentence_and_nothing_is_queued(here, options, sentence):
    before = len(fp.jobs(limit=1000))

    with pytest.raises(fp.RefusedError, match=sentence) as raised:
        fp.submit(["true"], workspace=None, **options)

    assert "\n" not in str(raised.value)
    assert len(fp.jobs(limit=1000)) == before


def test_a_colleague_reads_arrays_and_needs_a_name_for_pickles_and_a_stranger_sees_nothing(here, as_):
    array = fp.train(np.ones, 3, workspace=None).wait(60)
    pickled = fp.train(sorted, [2, 1], workspace=None).wait(60)
    bob, eve = as_("bob"), as_("eve")

    assert Job(bob, bob.job(array.id)).result().tolist() == [1.0, 1.0, 1.0]
    theirs = Job(bob, bob.job(pickled.id))
    with pytest.raises(fp.UntrustedError, match='trust="ada"'):
        theirs.result()
    assert theirs.result(trust="ada") == [1, 2]
    with pytest.raises(fp.NotFoundError):
        eve.job(array.id)
    with pytest.raises(fp.RefusedError):
        theirs.delete()


def test_another_persons_digest_is_like_one_that_does_not_exist(here, as_):
    secret = b"the board's minutes " * 10_000
    fp.session.client().blobs.send([fp.uploads.blob_of(secret)])
    digest = f"sha256:{hashlib.sha256(secret).hexdigest()}"
    eve = as_("eve")

    with pytest.raises(fp.NotFoundError):
        eve.blobs.fetch(digest)
    assert eve.blobs._missing([digest]) == {digest}


def test_a_large_workspace_travels_once_and_arrives_whole(here):
    (here / "w").mkdir()
    (here / "w" / "big.bin").write_bytes(np.random.default_rng(1).bytes(40 * 2**20))
    for n in range(300):
        (here / "w" / f"{n}.txt").write_text(str(n))

    job = fp.submit(
        "sha256sum big.bin; cat *.txt | wc -c; ls | wc -l", workspace=here / "w", memory="1Gi"
    ).wait(60)

    digest = hashlib.sha256((here / "w" / "big.bin").read_bytes()).hexdigest()
    assert job.logs().split() == [digest, "big.bin", str(sum(len(str(n)) for n in range(300))), "301"], job


def test_a_view_of_many_lines_is_complete(here):
    job = fp.submit("seq 200000", workspace=None)

    text = "".join(item.text for item in job.client.follow(job.id))

    assert text == "".join(f"{n}\n" for n in range(1, 200_001))
    assert job.wait(20).logs() == text


def _until(done, limit: float = 30) -> None:
    end = time.monotonic() + limit
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_deleted_job_leaves_no_checkpoint_behind(k):
    command = "echo weights > $FOOTPLATE_CHECKPOINT/w; echo $FOOTPLATE_CHECKPOINT"
    k.run(f"job = fp.submit({command!r}, workspace=None)")
    folder = Path(k.run("job.wait(); print(job.logs())").stdout.strip())
    assert (folder / "w").read_text() == "weights\n"
    k.run("job.delete()")
    deadline = time.monotonic() + 20
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not folder.exists()
    assert folder.parent.is_dir()
