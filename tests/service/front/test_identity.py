"""JupyterHub's own client against a hub over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pytest
from jupyterhub.services.auth import HubOAuth

from footplate_hub import identity as module
from footplate_hub.identity import HubIdentity, IdentityError, Person
from support.hub import ACCESS, Hub, run_hub, user


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with run_hub() as running:
        yield running


def identity_of(hub: Hub) -> HubIdentity:
    auth = HubOAuth(
        api_url=hub.url, api_token="service-token", oauth_client_id="service-footplate",
        base_url="/services/footplate/", access_scopes={ACCESS},
    )  # fmt: skip
    return HubIdentity("default", auth)


async def refused(identity: HubIdentity, token: str) -> tuple[int, str]:
    with pytest.raises(IdentityError) as caught:
        await identity.person(token)
    return caught.value.status, str(caught.value)


async def test_a_persons_groups_and_scopes_are_the_hubs(hub: Hub) -> None:
    hub.tokens = {
        "t-ada": user("ada", "research/vision", "Not A Path", "ops"),
        "t-bob": user("bob"),
        "t-root": user("root", admin=True),
        "t-boss": user("boss", scopes=("custom:footplate:admin",)),
        "t-lead": user("lead", scopes=("custom:footplate:submit", "custom:footplate:admin!group=research")),
        "t-view": {**user("view"), "scopes": [ACCESS]},
    }
    people = [await identity_of(hub).person(token) for token in hub.tokens]
    assert people == [
        Person("ada", ("ops", "research/vision")),
        Person("bob", ("default",)),
        Person("root", ("default",), admin=True),
        Person("boss", ("default",), admin=True),
        Person("lead", ("default",), administers=("research",)),
        Person("view", ("default",), may_submit=False),
    ]


async def test_unknown_tokens_services_and_tokens_without_access_are_refused(hub: Hub) -> None:
    hub.tokens = {
        "t-service": {"kind": "service", "name": "ada", "scopes": [ACCESS]},
        "t-narrow": {**user("ada"), "scopes": ["read:users!user=ada", "custom:footplate:submit"]},
    }
    identity = identity_of(hub)
    assert (await refused(identity, "t-nobody"))[0] == 401
    assert (await refused(identity, "t-service"))[0] == 403
    assert ACCESS in (await refused(identity, "t-narrow"))[1]


async def test_the_hub_is_asked_once_a_minute_however_many_call_at_once(hub: Hub) -> None:
    hub.tokens = {"t": user("ada")}
    identity = identity_of(hub)
    await asyncio.gather(*(identity.person("t") for _ in range(50)))
    await identity.person("t")
    for _ in range(5):
        await refused(identity, "unknown")
    assert hub.asked == 2


async def test_a_restart_of_the_hub_is_not_noticed_by_who_was_known(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.tokens = {"t": user("ada")}
    identity = identity_of(hub)
    await identity.person("t")
    monkeypatch.setattr(module, "_FRESH", 0.0)
    hub.status = 503
    assert (await identity.person("t")).name == "ada"
    assert (await refused(identity, "new"))[0] == 503
    monkeypatch.setattr(module, "_STALE", 0.0)
    assert (await refused(identity, "t"))[0] == 503


async def test_a_revoked_token_is_noticed_when_the_answer_has_aged(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.tokens = {"t": user("ada")}
    identity = identity_of(hub)
    await identity.person("t")
    hub.tokens = {}
    assert (await identity.person("t")).name == "ada"
    monkeypatch.setattr(module, "_FRESH", 0.0)
    assert (await refused(identity, "t"))[0] == 401


async def test_a_hung_hub_is_given_up_on(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HUB_PATIENCE", 0.2)
    hub.hung = True
    assert (await refused(identity_of(hub), "t"))[0] == 503


async def test_a_login_uses_pkce_and_is_good_once(hub: Hub) -> None:
    hub.codes = {"c1": "t-ada"}
    identity = identity_of(hub)
    login = identity.login("/services/footplate/me")
    query = parse_qs(urlsplit(login.url).query)
    assert query["code_challenge_method"] == ["S256"]
    assert query["state"] == [login.state]
    assert await identity.finish_login("c1", login.state) == ("t-ada", "/services/footplate/me")
    assert len(hub.exchanged[0]["code_verifier"][0]) >= 43
    with pytest.raises(IdentityError):
        await identity.finish_login("c1", login.state)
    again = identity.login("/services/footplate/me")
    with pytest.raises(IdentityError) as caught:
        await identity.finish_login("forged", again.state)
    assert caught.value.status == 403
