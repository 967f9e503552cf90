"""A job as plain HTML: what a notebook shows where no widget can."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from footplate_spec import JOB_FINAL, JobState, JobSummary

from .wording import duration, state_word, waits_for

__all__ = ["card"]


def card(job: JobSummary, notes: Sequence[str] = ()) -> str:
    """State, reason or cause, and how to go on. Colours are left to the page, so both themes read well."""
    parts = [f"<strong>{escape(job.id)}</strong> {escape(state_word(job))}, {escape(duration(job))}"]
    if job.state == JobState.QUEUED and (waits := waits_for(job)):
        parts.append(escape(waits))
    if job.cause is not None:
        parts.append(f"{escape(job.cause.code)}: {escape(job.cause.message)}")
    parts += [escape(note) for note in notes]
    if job.state not in JOB_FINAL:
        parts.append(f"<code>%attach {escape(job.id)}</code> <code>%stop {escape(job.id)}</code>")
    return f"<div>{'<br>'.join(parts)}</div>"
