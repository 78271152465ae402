"""The tables every service's database has besides its own: outbox, inbox, audit, idempotency keys.

They are plain tables under one metadata, used by each service in its own database; `migrations/`
beside this file creates them.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON

metadata = MetaData()


def _at(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


outbox = Table(
    "outbox",
    metadata,
    Column("seq", BigInteger, Identity(always=True), primary_key=True),
    Column("event_id", Uuid, nullable=False, unique=True),
    Column("topic", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("time", DateTime(timezone=True), nullable=False),
    Column("trace", Text),
    Column("data", Text, nullable=False),
    _at("recorded_at"),
    Column("published_at", DateTime(timezone=True)),
)
Index("outbox_unpublished", outbox.c.seq, postgresql_where=outbox.c.published_at.is_(None))

inbox = Table(
    "inbox",
    metadata,
    Column("consumer", Text, primary_key=True),
    Column("event_id", Uuid, primary_key=True),
    _at("received_at"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("entry", JSON, nullable=False),
    Column("refs", ARRAY(Text), nullable=False),
    Column("at", Text, Computed("entry->>'at'", persisted=True), nullable=False),
    Column("subject", Text, Computed("entry->>'subject'", persisted=True)),
    Column("operation", Text, Computed("entry->>'operation'", persisted=True), nullable=False),
    _at("recorded_at"),
    Column("seal_no", BigInteger),
    Column("seal", LargeBinary),
)
Index("audit_unsealed", audit.c.id, postgresql_where=audit.c.seal_no.is_(None))
Index("audit_seal_no", audit.c.seal_no, unique=True)
Index("audit_refs", audit.c.refs, postgresql_using="gin")
Index("audit_subject", audit.c.subject, audit.c.id)

idempotency = Table(
    "idempotency",
    metadata,
    Column("caller", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("operation", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("status", Integer, nullable=False),
    Column("location", Text),
    Column("media_type", Text),
    Column("body", LargeBinary, nullable=False),
    _at("recorded_at"),
)

business_day = Table(
    "business_day",
    metadata,
    Column("only", Boolean, primary_key=True, server_default="true"),
    Column("done", Text, nullable=False),
    Column("held", Text),
)
