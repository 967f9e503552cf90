"""What attempts use over time, for budgets; of what has ended already, what is known of it."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("gpu", sa.Integer(), server_default="0", nullable=False))
    op.add_column("attempts", sa.Column("price", sa.Double(), server_default="0", nullable=False))
    op.execute("UPDATE attempts SET gpu = (SELECT jobs.gpu FROM jobs WHERE jobs.id = attempts.job)")
    op.create_table(
        "spending",
        sa.Column("attempt", sa.Text(), nullable=False),
        sa.Column("group_path", sa.Text(), nullable=False),
        sa.Column("gpu", sa.Integer(), nullable=False),
        sa.Column("price", sa.Double(), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("ended", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("attempt", name=op.f("pk_spending")),
    )
    op.create_index("ix_spending_ended", "spending", ["ended"], unique=False)
    op.execute(
        "INSERT INTO spending (attempt, group_path, gpu, price, started, ended) "
        "SELECT attempts.id, jobs.group_path, attempts.gpu, 0, attempts.started, attempts.ended "
        "FROM attempts JOIN jobs ON jobs.id = attempts.job "
        "WHERE attempts.started IS NOT NULL AND attempts.ended IS NOT NULL AND attempts.gpu > 0"
    )
