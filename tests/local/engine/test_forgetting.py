"""What a deleted job kept is removed, and nothing else, whatever a path says."""

from __future__ import annotations

import os

import pytest

from footplate_agent.forkserver import _forget, _parse_kept


def test_a_jobs_checkpoints_go(tmp_path):
    kept = tmp_path / "checkpoints" / "digits-7k3f9m"
    (kept / "deep").mkdir(parents=True)
    (kept / "deep" / "model").write_text("weights")
    other = tmp_path / "checkpoints" / "digits-222222"
    other.mkdir()
    _forget(_parse_kept(os.path.realpath(kept)))
    _forget(_parse_kept(os.path.realpath(kept)))  # said again
    assert not kept.exists()
    assert other.is_dir()


@pytest.mark.parametrize(
    "path",
    [
        "/storage/checkpoints",
        "/storage/checkpoints/",
        "/storage/checkpoints/..",
        "/storage/checkpoints/../secrets/digits-7k3f9m",
        "/storage/else/digits-7k3f9m",
        "checkpoints/digits-7k3f9m",
        "/storage/checkpoints/digits-7k3f9m/..",
        "/storage//checkpoints/digits-7k3f9m",
        None,
    ],
)
def test_a_path_that_is_no_jobs_is_refused(path):
    with pytest.raises(ValueError, match="not where a job keeps"):
        _parse_kept(path)


@pytest.mark.parametrize("link", ["checkpoints", "checkpoints/digits-7k3f9m"])
def test_a_link_is_not_followed(tmp_path, link):
    treasure = tmp_path / "treasure"
    (treasure / "digits-7k3f9m").mkdir(parents=True)
    place = tmp_path / link
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(treasure if link == "checkpoints" else treasure / "digits-7k3f9m")
    with pytest.raises(ValueError, match="leads elsewhere"):
        _forget(str(tmp_path / "checkpoints" / "digits-7k3f9m"))
    assert (treasure / "digits-7k3f9m").is_dir()
