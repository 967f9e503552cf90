"""A gang meets by name where a name server leads there, and by address where none does."""

from __future__ import annotations

import socket

from footplate_agent.meeting import by_name

ENV = {"MASTER_ADDR": "10.0.0.7", "PET_MASTER_ADDR": "10.0.0.7", "RANK": "1"}


def resolves(monkeypatch, *answers):
    """Each look-up has the next of these answers, the last one ever after."""
    left = list(answers)

    def look_up(name, *_, **__):
        answer = left.pop(0) if len(left) > 1 else left[0]
        if answer is None:
            raise socket.gaierror(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr("footplate_agent.meeting._ASK_EVERY", 0)


def test_the_name_is_told_once_it_leads_to_rank_0(monkeypatch):
    resolves(monkeypatch, None, "10.0.0.3", "10.0.0.7")
    assert by_name(ENV, "meet-a1") == {"MASTER_ADDR": "meet-a1", "PET_MASTER_ADDR": "meet-a1", "RANK": "1"}


def test_the_address_stays_where_the_name_leads_nowhere(monkeypatch):
    for answer in (None, "10.0.0.3"):
        resolves(monkeypatch, answer)
        assert by_name(ENV, "meet-a1", patience=0) == ENV
