"""Jobs that wait for others."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "dependencies",
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("upstream", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job"], ["jobs.id"], name=op.f("fk_dependencies_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job", "upstream", name=op.f("pk_dependencies")),
    )
    op.create_index(op.f("ix_dependencies_upstream"), "dependencies", ["upstream"], unique=False)
