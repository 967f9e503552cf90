"""Maintenance through the API: who may hold what, and who sees it."""

from __future__ import annotations

from support.service import ADA, EVE, LEA, ROOT, Service


async def test_administrators_hold_and_release_groups_and_clusters_that_are_theirs(service: Service) -> None:
    lea, root = service.as_(LEA), service.as_(ROOT)
    why = {"why": "the cooling is repaired"}
    await service.submit(ADA)
    assert (await lea.put("holds/groups/research/vision", json=why)).status_code == 204
    assert (await lea.put("holds/groups/sales", json=why)).status_code == 403
    assert (await lea.put("holds/clusters/local", json=why)).status_code == 403
    assert (await root.put("holds/clusters/local", json={})).status_code == 204
    unknown = await root.put("holds/clusters/moon", json=why)
    assert (unknown.status_code, unknown.json()["error"]) == (
        404,
        "there is no cluster 'moon'; there are local",
    )
    assert (await service.as_(ADA).put("holds/groups/research/vision", json=why)).status_code == 403
    seen = [
        (hold["kind"], hold["name"], hold["why"]) for hold in (await service.as_(ADA).get("holds")).json()
    ]
    assert seen == [
        ("group", "research/vision", "the cooling is repaired"),
        ("cluster", "local", "maintenance"),
    ]
    assert [hold["kind"] for hold in (await service.as_(EVE).get("holds")).json()] == ["cluster"]
    assert (await lea.delete("holds/groups/research/vision")).status_code == 204
    again = await lea.delete("holds/groups/research/vision")
    assert (again.status_code, again.json()["code"]) == (409, "state")


async def test_a_group_that_nobody_uses_is_not_held_by_a_slip_of_the_pen(service: Service) -> None:
    await service.submit(ADA)
    root = service.as_(ROOT)
    assert (await root.put("holds/groups/research", json={})).status_code == 204
    slip = await root.put("holds/groups/reserch", json={})
    assert (slip.status_code, "reserch" in slip.json()["error"]) == (404, True)


async def test_a_node_is_drained_by_administrators(service: Service) -> None:
    drained = await service.as_(ROOT).post("nodes/local/n1/drain", json={"why": "new disks"})
    assert (drained.json()["blocked"], drained.json()["draining"]) == ("new disks", True)
    assert (await service.as_(LEA).post("nodes/local/n1/drain", json={"why": "x"})).status_code == 403
