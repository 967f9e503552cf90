"""Arrays through the API: one row, its runs under it, gone together."""

from __future__ import annotations

from footplate_hub.store import arrays, attempts
from footplate_spec import JobSpec
from support.service import ADA, Service


async def test_an_array_is_one_row_with_counts_and_its_runs_are_listed_under_it(any_service: Service) -> None:
    ada = any_service.as_(ADA)
    source = await any_service.store(ADA, b"x = 1")
    array = await any_service.submit(
        array={"grid": {"lr": [0.1, 0.01, 0.001]}},
        command=None,
        source={"function": {"payload": {"encoding": "source", "digest": source}}},
        python={"version": "3.11"},
    )
    async with any_service.rooms.database.read() as connection:
        [record] = await attempts.read_jobs(connection, [array])
    spec = JobSpec.model_validate_json(record.spec)
    for _ in range(2):  # whoever comes second makes nothing
        await any_service.rooms.database.write(lambda t: arrays.make_runs(t, record, spec, first=0, count=2))
    [row] = (await ada.get("jobs")).json()["items"]
    assert (row["id"], row["array"]["size"], row["array"]["queued"]) == (array, 3, 3)
    runs = (await ada.get("jobs", params={"parent": array})).json()["items"]
    assert [(run["parent"], run["index"], run["array"]) for run in runs] == [
        (array, 1, None),
        (array, 0, None),
    ]
    attempt = await any_service.control.place(runs[0]["id"])
    assert (await any_service.as_replica(attempt).get(f"agent/blobs/{source}")).content == b"x = 1"
    why = (await ada.get(f"jobs/{array}/why")).json()
    assert why["sentence"].startswith("Of 3 runs: 1 running, 2 waiting.")
    await any_service.control.finish(runs[0]["id"])
    await any_service.control.cancel(runs[1]["id"], "ada")
    await any_service.control.cancel(array, "ada")
    assert (await ada.delete(f"jobs/{array}")).status_code == 204
    assert (await ada.get(f"jobs/{runs[0]['id']}")).status_code == 404
