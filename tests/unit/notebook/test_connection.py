"""The service away, wrong, or not the service at all: what the client does and says."""

from __future__ import annotations

import gc
import hashlib
import os
import threading
import time

import pytest

import footplate as fp
from footplate.client import Client
from footplate.errors import NotConfiguredError
from footplate.following import Place, follow
from footplate.profile import Profile, find_profile
from footplate.uploads import Blob, blob_of
from footplate_spec import FollowItem
from support.notebook import TOKEN, Service


def test_a_submit_whose_answer_was_lost_is_one_job(client, service):
    client.me  # noqa: B018 (the connection is there before the failures begin)
    service.failing, service.failures = "jobs", [503, "drop", 502]

    fp.submit(["true"], workspace=None).wait(20)

    assert len(service.jobs) == 1


def test_a_restarting_service_is_waited_for(client, service):
    service.stop()
    threading.Timer(0.5, service.start).start()

    assert client.jobs() == []


def test_a_platform_that_is_gone_is_one_sentence(here):
    gone = Client(Profile("http://127.0.0.1:9/services/footplate/", fixed_token="x"), patience=0.2)

    with pytest.raises(
        fp.UnreachableError, match=r"cannot reach Footplate at http://127.0.0.1:9/.*footplate status"
    ):
        gone.jobs()


def test_something_else_at_the_address_is_said(client, service):
    service.failing, service.failures = "jobs", ["html"]

    with pytest.raises(fp.RefusedError, match="not one that this version understands"):
        client.jobs()


def test_an_error_page_of_a_proxy_is_no_traceback(client, service):
    service.failing, service.failures = "jobs", [418]

    with pytest.raises(fp.RefusedError, match="try again in a moment"):
        client.jobs()


def test_a_replaced_token_is_read_anew(service, here, monkeypatch):
    file = here / "token"
    file.write_text("old")
    made = Client(Profile(service.url, token_file=file), patience=1)
    file.write_text(f"{TOKEN}\n")

    assert made.me.name == "ada"


def test_a_token_that_is_not_accepted_is_one_sentence(service, here):
    made = Client(Profile(service.url, fixed_token="stolen"), patience=1)

    with pytest.raises(fp.RefusedError, match="this token is not known; the token may have expired"):
        made.jobs()


def test_the_folder_of_footplate_up_is_found_without_variables(service, here, tmp_path):
    folder = tmp_path / "home" / ".footplate"
    folder.mkdir()
    (folder / "token").write_text(TOKEN)
    (folder / "client.json").write_text(f'{{"url": "{service.url}", "token_file": "token"}}')

    assert fp.me().name == "ada"


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "start one with 'footplate up'"),
        ({"FOOTPLATE_URL": "http://x/"}, "there is no token; set FOOTPLATE_TOKEN_FILE"),
        ({"FOOTPLATE_URL": "ftp://x/", "FOOTPLATE_TOKEN": "t"}, "not an http address"),
    ],
)
def test_a_missing_profile_says_what_to_do(variables, sentence, tmp_path):
    with pytest.raises(NotConfiguredError, match=sentence):
        find_profile({"FOOTPLATE_DIR": str(tmp_path), **variables})


def test_a_token_never_shows_in_a_repr(service):
    assert "secret" not in repr(Profile(service.url, fixed_token="secret"))


@pytest.mark.parametrize("cut", [5000, 1500])
def test_a_stream_that_breaks_loses_and_doubles_nothing(client, service, cut):
    text = "".join(f"line {n} äöü \u2028 \x85 end\n" for n in range(40)).encode()
    service.hold = {"sentence": "held"}
    job = client.submit(_spec())
    held = service.jobs[job.id]
    service.cut_after = cut
    service.change(held, state="running", why=None)

    def write() -> None:
        for first in range(0, len(text), 37):
            service.change(held, log=held.log + text[first : first + 37])
            time.sleep(0.001)
        service.change(held, state="succeeded")

    threading.Thread(target=write).start()
    pieces = [item.text for item in follow(client.transport, job.id)]

    assert "".join(pieces) == text.decode()


def test_metrics_that_are_told_again_after_a_break_are_taken_once():
    place = Place()
    point = {"time": 1.0, "step": 1, "values": {"loss": 0.5}}
    item = FollowItem.model_validate({"kind": "metrics", "metrics": [point]})

    assert place.take(item) is not None
    assert place.take(item) is None


def test_a_new_execution_begins_at_its_own_start():
    place = Place()
    place.take(FollowItem(kind="log", attempt=1, execution=1, offset=500, text="x"))

    assert place.take(FollowItem(kind="log", attempt=1, execution=2, offset=5, text="again")) is not None
    assert place.parameters()["offset"] == 5


def test_waiting_with_a_limit_gives_up_and_the_job_goes_on(client, service):
    service.hold = {"sentence": "held"}
    job = fp.submit(["true"], workspace=None)

    with pytest.raises(TimeoutError, match="has not ended yet; it goes on"):
        job.wait(0.3)
    assert job.state == "queued"


def test_a_large_upload_resumes_where_it_broke(client, service, tmp_path):
    file = tmp_path / "model.bin"
    file.write_bytes(os.urandom(40 * 2**20))
    digest = f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"
    client.blobs.send([])
    service.failing, service.failures = digest, [503, "drop"]

    sent = client.blobs.send([Blob(digest, file.stat().st_size, file)])

    assert sent.blobs == 1
    assert service.blobs[digest] == file.read_bytes()
    puts = [path for method, path in service.requests if method == "PUT"]
    assert len(puts) == 5  # three pieces, two of them twice


def test_a_file_that_changed_while_it_was_sent_is_said(client, tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("before")
    named = blob_of(b"before")
    file.write_text("after!")

    with pytest.raises(fp.FootplateError, match=r"x\.csv changed while it was being sent; run this again"):
        client.blobs.send([Blob(named.digest, named.size, file)])


def test_damaged_bytes_are_not_handed_over(client, service):
    digest = service.keep(b"the model")
    service.blobs[digest] = b"the muddle"

    with pytest.raises(fp.FootplateError, match="is damaged"):
        client.blobs.fetch(digest)


def test_a_tree_that_leads_out_of_its_folder_is_not_unpacked(client, service, here, tmp_path):
    job = fp.submit(["true"], workspace=None).wait(20)
    inner = service.keep(b"evil")
    tree = f'{{"files": [{{"path": "../evil", "size": 4, "digest": "{inner}"}}]}}'
    service.jobs[job.id].result["files"] = service.keep(tree.encode())

    with pytest.raises(fp.FootplateError, match="not one that can be unpacked safely"):
        job.download(tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_a_link_in_the_way_of_a_download_is_not_followed(client, service, here, tmp_path):
    job = fp.submit("mkdir $FOOTPLATE_OUTPUT/d; echo x > $FOOTPLATE_OUTPUT/d/f", workspace=None).wait(20)
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "d").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(fp.FootplateError, match="leads out of"):
        job.download(tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_another_persons_pickle_opens_only_by_name(client, service):
    job = fp.train(dict, [("a", 1)]).wait(20)
    service.jobs[job.id].owner = "eve"
    theirs = fp.attach(job.id)

    with pytest.raises(fp.UntrustedError, match=r'if you trust eve, say result\(trust="eve"\)'):
        theirs.result()
    assert theirs.result(trust="eve") == {"a": 1}


def test_another_persons_array_opens(client, service):
    import numpy as np

    job = fp.train(np.ones, 3).wait(20)
    service.jobs[job.id].owner = "eve"

    assert fp.attach(job.id).result().tolist() == [1.0, 1.0, 1.0]


def test_an_id_with_slashes_stays_one_part_of_the_path(client, service):
    with pytest.raises(fp.NotFoundError):
        client.job("../secrets")
    assert ("GET", "secrets") not in service.requests


def test_a_fork_gets_a_connection_of_its_own(client, service):
    client.me  # noqa: B018
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, fp.me().name.encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reader, 100) == b"ada"


def _spec():
    from footplate_spec import JobSpec

    return JobSpec(command=["true"])


def test_many_views_are_fed_by_one_thread_that_ends_and_leaves_nothing_half_done(client, service, caplog):
    from footplate.feed import Feed

    service.hold = {"sentence": "held"}
    handles = [client.submit(_spec()) for _ in range(20)]
    feed, ended = Feed(), []

    for handle in handles:
        feed.add(client.transport.profile, handle.id, lambda item: ended.append(item.kind))
    assert sum(thread.name == "footplate-feed" for thread in threading.enumerate()) == 1
    for handle in handles:
        service.change(service.jobs[handle.id], state="succeeded")
    limit = time.monotonic() + 10
    while any(thread.name == "footplate-feed" for thread in threading.enumerate()):
        assert time.monotonic() < limit
        time.sleep(0.02)

    assert ended.count("end") == 20
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


def test_the_service_under_another_name_is_another_client(service, client, monkeypatch):
    other = Service()
    other.start()
    monkeypatch.setenv("FOOTPLATE_URL", other.url)

    fp.submit(["true"], workspace=None)

    assert len(other.jobs) == 1
    assert not service.jobs
    other.stop()
