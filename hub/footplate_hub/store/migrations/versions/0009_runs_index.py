"""Indexes of an array's runs leave out what is not a run: SQLite took them for every list of jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_RUNS = sa.text("parent IS NOT NULL")


def upgrade() -> None:
    op.drop_index("ix_jobs_parent_state", "jobs")
    for name, columns in (
        ("ix_jobs_parent_state", ["parent", "state"]),
        ("ix_jobs_parent_submitted", ["parent", "submitted"]),
    ):
        op.create_index(name, "jobs", columns, sqlite_where=_RUNS, postgresql_where=_RUNS)
