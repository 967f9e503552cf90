"""Replica tokens: only the service can make one, and none survives a changed letter."""

from __future__ import annotations

import stat

import pytest

from footplate_hub.tokens import ReplicaId, ReplicaTokens

REPLICA = ReplicaId("digits-7k3f9m-a1", "worker", 3)


def test_a_token_says_whose_it_is(tmp_path):
    tokens = ReplicaTokens(tmp_path / "key")

    assert tokens.verify(tokens.mint(REPLICA)) == REPLICA


def test_the_key_is_kept_and_private(tmp_path):
    token = ReplicaTokens(tmp_path / "key").mint(REPLICA)

    assert ReplicaTokens(tmp_path / "key").verify(token) == REPLICA
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize(
    "spoil", [lambda t: t.replace(".3.", ".4."), lambda t: t + "0", lambda t: "", lambda t: "é"]
)
def test_a_changed_or_foreign_token_is_worth_nothing(tmp_path, spoil):
    tokens = ReplicaTokens(tmp_path / "key")

    assert tokens.verify(spoil(tokens.mint(REPLICA))) is None
    assert ReplicaTokens(tmp_path / "other").verify(tokens.mint(REPLICA)) is None
