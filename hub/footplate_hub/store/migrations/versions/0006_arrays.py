"""Arrays: a row that makes others."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("parent", sa.Text(), nullable=True))
    for name in ("array_index", "array_size", "array_next"):
        op.add_column("jobs", sa.Column(name, sa.Integer(), nullable=True))
    op.create_index("ix_jobs_parent_state", "jobs", ["parent", "state"], unique=False)
