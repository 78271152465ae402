"""Who an account or a client is for: which roles go together, and which party they need."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from shared import uscc
from shared.identity import Role
from shared.measures import measures_on
from shared.problems import InvalidInput
from shared.rules import Text

ALSO_MEMBERS = ("finance", "assessor")
WITHOUT_PARTY = ("office", "auditor")
MACHINES_ONLY = ("partner",)


class Holder(BaseModel):
    """The roles, and the party they act for: an institution's or guarantor's id, an enterprise's USCC,
    a member unit's code. `finance` and `assessor` are members too, without its being said."""

    model_config = ConfigDict(extra="forbid")

    display_name: str = Field(min_length=1, max_length=100, examples=["工商银行 陈晨"])
    roles: list[Role] = Field(min_length=1, max_length=2, examples=[["institution"]])
    party: str | None = Field(default=None, max_length=64, examples=["0192f3a0-1c1b-7d5e-9b1a-2f6d5a3c4e5f"])


def roles_and_party(holder: Holder, today: date, *, machine: bool) -> tuple[list[str], str | None]:
    """The roles to keep, with what they imply, and the party. Raises InvalidInput."""
    roles = {str(role) for role in holder.roles}
    if roles & set(ALSO_MEMBERS):
        roles.add("member")
    main = roles - {"member"} or roles
    if len(main) != 1 or (len(roles) > 1 and not roles & set(ALSO_MEMBERS)):
        raise _wrong("roles", Text("这些角色不能由同一人担任", "These roles are not held by one person"))
    if not machine and main & set(MACHINES_ONLY):
        raise _wrong("roles", Text("此角色只用于接口客户端", "This role is for machine clients"))
    _check_party(next(iter(main)), holder.party, today)
    return sorted(roles), holder.party


def _check_party(role: str, party: str | None, today: date) -> None:
    if role in MACHINES_ONLY:
        return
    if role in WITHOUT_PARTY:
        if party is not None:
            raise _wrong("party", Text("此角色不代表任何单位", "This role acts for no party"))
        return
    if party is None:
        raise _wrong("party", Text("此角色须写明所代表的单位", "This role needs the party it acts for"))
    if role in ("institution", "guarantor"):
        try:
            fits = str(UUID(party)) == party
        except ValueError:
            fits = False
    elif role == "enterprise":
        fits = uscc.is_true(party)
    else:
        fits = party in {unit.code for unit in measures_on(today).units}
    if not fits:
        raise _wrong(
            "party",
            Text(
                "应为机构编号、统一社会信用代码或成员单位代码",
                "must be the institution's or guarantor's id, the USCC, or the member unit's code",
            ),
        )


def _wrong(member: str, what: Text) -> InvalidInput:
    return InvalidInput(what, errors=[{"pointer": f"#/{member}", "detail": what}])
