"""Accounts, clients, signing keys, registrations waiting for their activation."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0001"
down_revision = None
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("roles", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("party", sa.Text),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("locked_until", INSTANT),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint("failures >= 0"),
    )
    op.create_index("account_party", "account", ["party"])
    op.create_table(
        "client",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("secret_sha256", sa.Text, nullable=False),
        sa.Column("roles", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("party", sa.Text),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
    )
    op.create_table(
        "signing_key",
        sa.Column("kid", sa.Text, primary_key=True),
        sa.Column("public_jwk", sa.Text, nullable=False),
        sa.Column("sealed_private_jwk", sa.Text, nullable=False),
        sa.Column("signs_from", INSTANT, nullable=False),
        sa.Column("signs_until", INSTANT, nullable=False),
    )
    op.create_table(
        "registration",
        sa.Column("uscc", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("activation", sa.Text, nullable=False),
        sa.Column("activated", sa.Boolean, nullable=False),
    )
