"""Jobs for which others were stopped go first until they start."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("owed", sa.Boolean(), server_default=sa.false(), nullable=False))
