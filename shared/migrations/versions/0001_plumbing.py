"""Outbox, inbox, audit, idempotency keys, business day; `yuan()` for JSON built in the database."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY, JSON

revision = "shared_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("seq", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("event_id", sa.Uuid, nullable=False, unique=True),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("trace", sa.Text),
        sa.Column("data", sa.Text, nullable=False),
        _now("recorded_at"),
        sa.Column("published_at", sa.DateTime(timezone=True)),
    )
    op.create_index("outbox_unpublished", "outbox", ["seq"], postgresql_where=sa.text("published_at IS NULL"))
    op.create_table(
        "inbox",
        sa.Column("consumer", sa.Text, primary_key=True),
        sa.Column("event_id", sa.Uuid, primary_key=True),
        _now("received_at"),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("entry", JSON, nullable=False),
        sa.Column("refs", ARRAY(sa.Text), nullable=False),
        sa.Column("at", sa.Text, sa.Computed("entry->>'at'", persisted=True), nullable=False),
        sa.Column("subject", sa.Text, sa.Computed("entry->>'subject'", persisted=True)),
        sa.Column("operation", sa.Text, sa.Computed("entry->>'operation'", persisted=True), nullable=False),
        _now("recorded_at"),
        sa.Column("seal_no", sa.BigInteger),
        sa.Column("seal", sa.LargeBinary),
    )
    op.create_index("audit_unsealed", "audit", ["id"], postgresql_where=sa.text("seal_no IS NULL"))
    op.create_index("audit_seal_no", "audit", ["seal_no"], unique=True)
    op.create_index("audit_refs", "audit", ["refs"], postgresql_using="gin")
    op.create_index("audit_subject", "audit", ["subject", "id"])
    op.create_table(
        "idempotency",
        sa.Column("caller", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("location", sa.Text),
        sa.Column("media_type", sa.Text),
        sa.Column("body", sa.LargeBinary, nullable=False),
        _now("recorded_at"),
    )
    op.create_table(
        "business_day",
        sa.Column("only", sa.Boolean, primary_key=True, server_default="true"),
        sa.Column("done", sa.Text, nullable=False),
        sa.Column("held", sa.Text),
    )
    for statement in (APPEND_ONLY, EACH_ROW, NO_TRUNCATE, YUAN):
        op.execute(statement)


def _now(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


# A sealed row is never touched again; an unsealed one only to seal it. No row is deleted.
APPEND_ONLY = """
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.seal_no IS NULL AND NEW.seal_no IS NOT NULL
       AND NEW.entry::text = OLD.entry::text AND NEW.refs = OLD.refs THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$
"""
EACH_ROW = """
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_is_append_only()
"""
NO_TRUNCATE = """
CREATE TRIGGER audit_is_not_truncated BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()
"""

YUAN = """
CREATE FUNCTION yuan(fen bigint) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT CASE WHEN fen < 0 THEN '-' ELSE '' END || (abs(fen) / 100)::text
   || '.' || lpad((abs(fen) % 100)::text, 2, '0') $$
"""
