"""One run of an array may be suspended alone."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("alone", sa.Boolean(), server_default=sa.false(), nullable=False))
