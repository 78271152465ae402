"""The toy's tables."""

import sqlalchemy as sa
from alembic import op

revision = "toy_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "box",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("phone", sa.Text, nullable=False),
        sa.Column("weight", sa.Integer, nullable=False),
    )
    op.create_table(
        "heard",
        sa.Column("guarantor_id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("times", sa.Integer, nullable=False),
    )
