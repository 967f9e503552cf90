"""What a gang's processes are told of each other."""

from __future__ import annotations

import json

import pytest

from footplate_hub.control.ranks import environment
from footplate_hub.store.attempts import ReplicaRecord
from footplate_spec import JobSpec, ReplicaState


def gang(*roles: tuple[str, int]):
    spec = JobSpec.model_validate(
        {"command": ["x"], "roles": [{"name": name, "replicas": count} for name, count in roles]}
    )
    keys = [(name, index) for name, count in roles for index in range(count)]
    records = {
        key: ReplicaRecord(
            attempt="a", role=key[0], index=key[1], node="n", flavor="cpu",
            state=ReplicaState.READY, address=f"10.0.0.{number}", port=29500,
        )
        for number, key in enumerate(keys)
    }  # fmt: skip
    return environment(spec, records)


def test_tensorflow_is_told_who_is_where_and_the_evaluator_is_not_among_them():
    told = gang(("chief", 1), ("ps", 1), ("worker", 2), ("evaluator", 1))
    config = json.loads(told["worker", 1]["TF_CONFIG"])
    assert config == {
        "cluster": {
            "chief": ["10.0.0.0:29500"],
            "ps": ["10.0.0.1:29500"],
            "worker": ["10.0.0.2:29500", "10.0.0.3:29500"],
        },
        "task": {"type": "worker", "index": 1},
    }
    assert json.loads(told["evaluator", 0]["TF_CONFIG"])["task"] == {"type": "evaluator", "index": 0}


@pytest.mark.parametrize("roles", [[("worker", 2)], [("master", 1), ("worker", 1)]])
def test_other_gangs_are_told_nothing_of_tensorflow(roles):
    assert all("TF_CONFIG" not in env for env in gang(*roles).values())
