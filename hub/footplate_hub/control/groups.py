"""Groups as the queue sees them."""

from __future__ import annotations

from footplate_spec import Amounts, Group, QueuePolicy, Quota

from ..queue import model

__all__ = ["group_model", "policy_model"]


def group_model(group: Group) -> model.GroupModel:
    """A group's quotas, and what one person may have in it."""
    person = group.per_person
    limited = person.running is not None or person.gpus is not None
    return model.GroupModel(
        group.name,
        quotas={
            (quota.cluster, quota.flavor): model.Quota(
                _limit(quota), _limit(quota.borrowing_limit), _limit(quota.lending_limit)
            )
            for quota in group.quotas
        },
        person=model.PersonLimit(person.running, person.gpus) if limited else None,
        policy=policy_model(group.policy),
    )


def policy_model(policy: QueuePolicy | None) -> model.Policy | None:
    """How those who wait are ordered, if it is said."""
    return model.Policy(policy.order, policy.backfill) if policy is not None else None


def _limit(amounts: Amounts | Quota) -> model.Limit:
    return model.Limit(amounts.cpu, amounts.memory, amounts.gpu)
