"""Whose account a person has, and becoming that person without a way back."""

from __future__ import annotations

import os
import pwd

__all__ = ["Refusal", "become", "find_account"]

_FIRST_PERSON, _NOBODY = 1000, 65534  # below and there are the system's own accounts


class Refusal(Exception):  # noqa: N818 - it is the answer
    """What was asked will not be done; one sentence for the person."""


def find_account(name: object) -> pwd.struct_passwd:
    """The account with a hub user's name.

    Raises
    ------
    Refusal
        If there is none, or it is not a person's.
    """
    if not isinstance(name, str) or not name or "/" in name or "\0" in name or name.startswith("."):
        raise Refusal("That is not the name of a person.")
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        raise Refusal(f"{name} has no account on this machine; ask its administrator for one.") from None
    if account.pw_uid < _FIRST_PERSON or account.pw_uid == _NOBODY or account.pw_name != name:
        raise Refusal(f"{name} is an account of the system; jobs run as people's accounts only.")
    return account


def become(account: pwd.struct_passwd) -> None:
    """Be that person from here on: groups, then group, then user. Ends the process if anything is left."""
    os.initgroups(account.pw_name, account.pw_gid)
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        if os.getresuid() == (account.pw_uid,) * 3 and os.getresgid() == (account.pw_gid,) * 3:
            return
    os._exit(99)
