"""A job as people submit it: what is unknown, unbuilt or contradictory is refused in one sentence."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from footplate_spec import JobSpec, Role, attempt_id, explain_validation, job_id, slug

RUNS = {"command": ["true"]}


def refusal(**fields):
    with pytest.raises(ValidationError) as caught:
        JobSpec.model_validate(fields)
    return explain_validation(caught.value)


def test_the_smallest_job_is_a_command():
    job = JobSpec.model_validate(RUNS)

    assert (job.replicas, job.priority, job.clusters, job.roles[0].resources.gpu) == (1, "normal", [], 0)


def test_a_run_of_an_array_has_its_values_in_its_environment():
    array = {"grid": {"lr": [0.1, 0.01], "opt": ["sgd", "adam", "lion"]}}
    job = JobSpec.model_validate({**RUNS, "array": array, "env": {"A": "1"}})
    run = job.run(4)

    assert job.array.size == 6
    assert (run.array, run.env) == (
        None,
        {"A": "1", "FOOTPLATE_ARRAY_INDEX": "4", "FOOTPLATE_PARAM_LR": "0.01", "FOOTPLATE_PARAM_OPT": "adam"},
    )


def test_an_unknown_field_is_refused_with_the_nearest_name():
    assert "'comand'; did you mean 'command'?" in refusal(comand=["true"])


@pytest.mark.parametrize("field", ["notify", "output", "lifetime"])
def test_a_field_that_is_not_built_is_refused_not_ignored(field):
    assert f"has no field {field!r}" in refusal(**RUNS, **{field: "x"})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "nothing to run"),
        ({**RUNS, "array": {}}, "an array has a count or a grid"),
        ({**RUNS, "array": {"grid": {"a": list(range(1000)), "b": list(range(1000))}}}, "at most 100000"),
        ({**RUNS, "array": {"grid": {"a": [1], "A": [1]}}}, "two names of the grid"),
        ({**RUNS, "after": [{"job": "a-1"}, {"job": "a-1", "outcome": "failed"}]}, "after names 'a-1' twice"),
        ({**RUNS, "after": [{"job": "a-1", "outcome": "done"}]}, "after.0.outcome"),
        ({**RUNS, "roles": [{"resources": {"gpu": -1}}]}, "roles.0.resources.gpu"),
        ({**RUNS, "roles": [{"resources": {"gpu": 1.5}}]}, "roles.0.resources.gpu"),
        ({**RUNS, "roles": [{"resources": {"cpu": 0}}]}, "must be more than nothing"),
        ({**RUNS, "roles": [{"name": "a"}, {"name": "a"}]}, "two roles are named 'a'"),
        ({**RUNS, "roles": []}, "roles"),
        ({**RUNS, "time_limit": "soon"}, "'soon' is not a length of time"),
        ({**RUNS, "time_limit": 0}, "time_limit must be more than nothing"),
        ({**RUNS, "name": "Über"}, "name"),
        ({**RUNS, "env": {"1X": "y"}}, "env"),
        ({**RUNS, "group": "../up"}, "group"),
        ({**RUNS, "setup": {"pip": ["--index-url=http://x"]}}, "is an option of pip"),
        ({**RUNS, "mounts": [{"volume": "a", "path": "../b"}]}, "without '..'"),
        ({**RUNS, "source": {"git": {"url": "https://me:pw@host/r"}}}, "a password does not belong in a URL"),
        ({**RUNS, "source": {"git": {"url": "ext::sh -c true"}}}, "is not a repository's address"),
        ({**RUNS, "source": {"git": {"url": "--upload-pack=x"}}}, "is not a repository's address"),
        ({**RUNS, "source": {"git": {"url": "https://h/r", "path": "../x"}}}, "inside the repository"),
        ({**RUNS, "source": {"workspace": {"digest": "sha256:1"}}}, "source.workspace.digest"),
        (
            {"source": {"function": {"payload": {"encoding": "source", "digest": f"sha256:{'0' * 64}"}}}},
            "needs the Python version",
        ),
        (
            {
                **RUNS,
                "python": {"version": "3.11"},
                "source": {"function": {"payload": {"encoding": "source", "digest": f"sha256:{'0' * 64}"}}},
            },
            "a function or a command, not both",
        ),
    ],
)
def test_a_contradiction_or_nonsense_is_refused(fields, sentence):
    assert sentence in refusal(**fields)


def test_a_spec_reads_back_what_it_wrote():
    spec = JobSpec.model_validate(
        {
            **RUNS,
            "cluster": ["a", "b"],
            "time_limit": "2h",
            "secrets": [{"name": "wandb-key", "as": "file"}],
            "roles": [{"name": "worker", "replicas": 4, "resources": {"cpu": "500m", "flavor": ["a", "b"]}}],
        }
    )

    again = JobSpec.model_validate_json(spec.model_dump_json(by_alias=True))

    assert again == spec
    assert (again.secrets[0].variable, again.clusters, again.time_limit) == ("WANDB_KEY", ["a", "b"], 7200)


def test_replicas_of_all_roles_count():
    spec = JobSpec.model_validate({**RUNS, "roles": [{"name": "master"}, {"name": "worker", "replicas": 3}]})

    assert spec.replicas == 4
    assert isinstance(spec.roles[0], Role)


def test_ids_are_made_from_names():
    first, second = job_id("digits"), job_id("digits")

    assert first != second
    assert first.startswith("digits-")
    assert attempt_id(first, 2) == f"{first}-a2"
    assert (slug("Train_v2.py"), slug("…")) == ("train-v2-py", "job")


def test_replicas_may_be_a_range():
    job = JobSpec.model_validate({**RUNS, "roles": [{"replicas": {"min": 2, "max": 4}}]})
    [role] = job.roles
    assert (role.fewest, role.most, job.replicas) == (2, 4, 2)
    assert job.sized({"worker": 3}).roles[0].replicas == 3


@pytest.mark.parametrize(
    ("replicas", "words"),
    [
        ({"min": 3, "max": 2}, "min 3 is more than max 2"),
        ({"min": 0, "max": 2}, "greater than or equal to 1"),
        ({"min": 1}, "max: Field required"),
        ({"least": 1}, "replicas has no field 'least'"),
        (0, "greater than or equal to 1"),
    ],
)
def test_a_wrong_range_is_refused(replicas, words):
    assert words in refusal(**RUNS, roles=[{"replicas": replicas}])


def test_a_fence_leaves_time_for_words_that_are_missed_and_for_a_checkpoint():
    assert JobSpec(command=["true"]).recovery.fence_after == "never"
    fenced = {"command": ["true"], "recovery": {"checkpoint_grace": 20, "fence_after": "50s"}}
    assert JobSpec.model_validate(fenced).recovery.fence_after == 50
    too_soon = {"command": ["true"], "recovery": {"checkpoint_grace": 21, "fence_after": "50s"}}
    with pytest.raises(ValidationError, match="fence_after must be at least 51s"):
        JobSpec.model_validate(too_soon)
    with pytest.raises(ValidationError) as refused:
        JobSpec.model_validate({"command": ["true"], "recovery": {"fence_after": "soon"}})
    assert "fence_after" in explain_validation(refused.value)
