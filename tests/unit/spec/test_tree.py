"""A workspace's tree: hostile paths do not parse."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from footplate_spec import Tree

DIGEST = f"sha256:{'a' * 64}"


def file(path, **more):
    return {"path": path, "size": 1, "digest": DIGEST, **more}


def test_a_tree_counts_its_bytes():
    assert Tree.model_validate({"files": [file("a.py"), file("b/c.py", mode="executable")]}).size == 2


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../up", "a/../../b", "a//b", "./a", "a/", "a\0b"])
def test_a_path_that_leaves_the_folder_is_refused(path):
    with pytest.raises(ValidationError):
        Tree.model_validate({"files": [file(path)]})


@pytest.mark.parametrize("target", ["/etc", "../..", "../../x", "b/../../../x", "k/.."])
def test_a_link_that_leaves_the_folder_is_refused(target):
    with pytest.raises(ValidationError, match="outside the folder"):
        Tree.model_validate({"files": [{"path": "a/link", "mode": "link", "target": target}]})


def test_a_link_inside_the_folder_is_kept():
    tree = Tree.model_validate(
        {"files": [file("a/b"), {"path": "c/link", "mode": "link", "target": "../a/b"}]}
    )

    assert tree.files[1].target == "../a/b"


@pytest.mark.parametrize(
    "files",
    [
        [file("a"), file("a")],
        [file("a"), file("a/b")],
        [{"path": "a", "size": 1}],
        [file("a", mode="link", target="b")],
        [{"path": "l", "mode": "link", "target": "x"}, file("l/b")],
    ],
    ids=["twice", "file and folder", "no bytes", "bytes and target", "through a link"],
)
def test_a_contradictory_tree_is_refused(files):
    with pytest.raises(ValidationError):
        Tree.model_validate({"files": files})
