"""Who may sign in: people, machine clients, and the keys their tokens are signed with."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Column, DateTime, Index, Text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Table(SQLModel, registry=registry()):
    """The gateway's own tables."""


def _instant(*, nullable: bool) -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=nullable)


class Account(Table, table=True):
    """A person who signs in with a name and a password, acting for at most one party."""

    __table_args__ = (CheckConstraint("failures >= 0"), Index("account_party", "party"))

    id: UUID = Field(primary_key=True)
    name: str = Field(unique=True)
    display_name: str
    password_hash: str = Field(sa_column=Column(Text, nullable=False, info={"personal": True}))
    roles: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    party: str | None = None
    active: bool = True
    failures: int = 0
    locked_until: datetime | None = Field(default=None, sa_column=_instant(nullable=True))
    created_at: datetime = Field(sa_column=_instant(nullable=False))


class Client(Table, table=True):
    """A core system that signs in with its id and a secret of 256 random bits."""

    id: str = Field(primary_key=True)
    display_name: str
    secret_sha256: str = Field(sa_column=Column(Text, nullable=False, info={"personal": True}))
    roles: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    party: str | None = None
    active: bool = True
    created_at: datetime = Field(sa_column=_instant(nullable=False))


class SigningKey(Table, table=True):
    """An ES256 key; the private part is encrypted by the installation's secret."""

    __tablename__ = "signing_key"

    kid: str = Field(primary_key=True)
    public_jwk: str
    sealed_private_jwk: str = Field(sa_column=Column(Text, nullable=False, info={"personal": True}))
    signs_from: datetime = Field(sa_column=_instant(nullable=False))
    signs_until: datetime = Field(sa_column=_instant(nullable=False))


class Registration(Table, table=True):
    """What the gateway remembers of a registered enterprise: the hash of its activation code."""

    uscc: str = Field(primary_key=True)
    name: str
    activation: str
    activated: bool = False
