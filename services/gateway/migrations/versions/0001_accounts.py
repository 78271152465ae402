"""Accounts, clients, signing keys, failed sign-ins, registrations waiting for their activation."""

import sqlalchemy as sa
from alembic import op

revision = "gateway_0001"
down_revision = None
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
ENDED = sa.text("access_ended_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text),
        sa.Column("activation", sa.Text, unique=True),
        sa.Column("activation_until", INSTANT),
        sa.Column("roles", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("party", sa.Text),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("access_ended_at", INSTANT),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint("cardinality(roles) > 0", name="account_has_a_role"),
    )
    op.create_index("account_party", "account", ["party"])
    op.create_index("account_ended", "account", ["access_ended_at"], postgresql_where=ENDED)
    op.create_table(
        "client",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("secret", sa.Text, nullable=False),
        sa.Column("roles", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("party", sa.Text),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("access_ended_at", INSTANT),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint("cardinality(roles) > 0", name="client_has_a_role"),
    )
    op.create_index("client_ended", "client", ["access_ended_at"], postgresql_where=ENDED)
    op.create_table(
        "signing_key",
        sa.Column("kid", sa.Text, primary_key=True),
        sa.Column("public_jwk", sa.Text, nullable=False),
        sa.Column("sealed_private_jwk", sa.Text, nullable=False),
        sa.Column("signs_from", INSTANT, nullable=False),
        sa.Column("signs_until", INSTANT, nullable=False),
    )
    op.create_table(
        "sign_in_failures",
        sa.Column("name_sha256", sa.LargeBinary, primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("locked_until", INSTANT),
        sa.Column("last_at", INSTANT, nullable=False),
    )
    op.create_table(
        "registration",
        sa.Column("registration_id", sa.Uuid, primary_key=True),
        sa.Column("uscc", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("activation", sa.Text, nullable=False, unique=True),
    )
    op.create_table(
        "activation_used",
        sa.Column("activation", sa.Text, primary_key=True),
        sa.Column("account_id", sa.Uuid, sa.ForeignKey("account.id"), nullable=False),
    )
