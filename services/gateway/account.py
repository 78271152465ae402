"""Who may sign in: people, machine clients, and the keys their tokens are signed with."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, CheckConstraint, Column, DateTime, Index, LargeBinary, Text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel


class Table(SQLModel, registry=registry()):
    """The gateway's own tables."""


def _instant(*, nullable: bool) -> Any:
    return Field(
        default=None if nullable else ..., sa_column=Column(DateTime(timezone=True), nullable=nullable)
    )


def _secret(*, nullable: bool, unique: bool = False) -> Any:
    column = Column(Text, nullable=nullable, unique=unique, info={"personal": True})
    return Field(default=None if nullable else ..., sa_column=column)


class Account(Table, table=True):
    """A person who signs in with a name and a password, acting for at most one party. There is no
    password until the person has set it with the activation code."""

    __table_args__ = (
        CheckConstraint("cardinality(roles) > 0", name="account_has_a_role"),
        Index("account_party", "party"),
        Index("account_ended", "access_ended_at", postgresql_where="access_ended_at IS NOT NULL"),
    )

    id: UUID = Field(primary_key=True)
    name: str = Field(unique=True)
    display_name: str
    password_hash: str | None = _secret(nullable=True)
    activation: str | None = _secret(nullable=True, unique=True)
    """SHA-256 (hex) of the code that sets the password, until `activation_until`."""
    activation_until: datetime | None = _instant(nullable=True)
    roles: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    party: str | None = None
    active: bool = True
    access_ended_at: datetime | None = _instant(nullable=True)
    """Tokens issued before this instant are no longer taken."""
    created_at: datetime = _instant(nullable=False)

    @property
    def subject(self) -> str:
        return f"account:{self.id}"


class Client(Table, table=True):
    """A core system that signs in with its id and a secret of 256 random bits."""

    __table_args__ = (
        CheckConstraint("cardinality(roles) > 0", name="client_has_a_role"),
        Index("client_ended", "access_ended_at", postgresql_where="access_ended_at IS NOT NULL"),
    )

    id: str = Field(primary_key=True)
    display_name: str
    secret: str = _secret(nullable=False)
    """SHA-256 (hex) of the secret."""
    roles: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    party: str | None = None
    active: bool = True
    access_ended_at: datetime | None = _instant(nullable=True)
    created_at: datetime = _instant(nullable=False)

    @property
    def subject(self) -> str:
        return f"client:{self.id}"


class SigningKey(Table, table=True):
    """An ES256 key; the private part is encrypted by the installation's secret."""

    __tablename__ = "signing_key"

    kid: str = Field(primary_key=True)
    public_jwk: str
    sealed_private_jwk: str = _secret(nullable=False)
    signs_from: datetime = _instant(nullable=False)
    signs_until: datetime = _instant(nullable=False)


class Failures(Table, table=True):
    """Wrong passwords in a row for one name, whether or not anybody has that name."""

    __tablename__ = "sign_in_failures"

    name_sha256: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    failures: int
    locked_until: datetime | None = _instant(nullable=True)
    last_at: datetime = _instant(nullable=False)


class Registration(Table, table=True):
    """What the gateway remembers of a registered enterprise: the hash of its activation code."""

    registration_id: UUID = Field(primary_key=True)
    uscc: str
    name: str
    activation: str = Field(unique=True)


class ActivationUsed(Table, table=True):
    """A registration's code that has become an account: a code works once."""

    __tablename__ = "activation_used"

    activation: str = Field(primary_key=True)
    account_id: UUID = Field(foreign_key="account.id")
