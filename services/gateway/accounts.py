"""The office makes and closes accounts of people. Who makes an account need not learn its password: the
person sets it with a code that is shown once (`activation.py`), so that what is done under a name was
done by that person (R-81, R-83).

The first office account of an installation is made on its database (`first_account.py`).
"""

from __future__ import annotations

from uuid import UUID

from pydantic import Field
from sqlalchemy import any_, literal, select
from sqlmodel import col
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.account import Account
from services.gateway.activation import give_code
from services.gateway.holder import Holder, roles_and_party
from services.gateway.keys import utc_now
from services.gateway.passwords import Password, demand_strength
from services.gateway.shown import AccountMade, AccountShown, Name, NameTaken, end_access, refuse_taken, shown
from services.gateway.signing_in import door
from shared.database import new_id
from shared.pages import Cursor, Limit, Page, page
from shared.problems import NotFound, Refusal, refusals
from shared.rules import Text
from shared.service import Session, Today, router

steps = router("identity")


class LastOffice(Refusal):
    """The last account of the office stays: without it nobody could make another."""

    title = Text("至少保留一个办公室账户", "One office account must remain")


class NewAccount(Holder):
    """The person's name, and who it is for. Without a `password` the answer has a code by which the
    person sets it; with one the account may be used at once."""

    name: Name
    password: Password | None = Field(default=None, examples=[None])


@steps.post("/v1/accounts", operation_id="create_account", status_code=201, responses=refusals(NameTaken))
async def create_account(
    body: NewAccount, session: Session, today: Today, request: Request, response: Response
) -> AccountMade:
    """Make an account for a person."""
    roles, party = roles_and_party(body, today, machine=False)
    await refuse_taken(session, body.name)
    account = Account(
        id=new_id(),
        name=body.name,
        display_name=body.display_name,
        roles=roles,
        party=party,
        created_at=utc_now(),
    )
    response.headers["Location"] = f"/v1/accounts/{account.id}"
    if body.password is None:
        made = give_code(account, request, 201)
    else:
        demand_strength(body.password, body.name)
        account.password_hash = await door(request).passwords.hash(body.password)
        made = AccountMade(**shown(account).model_dump())
    session.add(account)
    return made


@steps.get("/v1/accounts", operation_id="list_accounts", response_model=Page[AccountShown])
async def list_accounts(session: Session, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """All accounts by name."""
    columns = (Account.id, Account.name, Account.display_name, Account.roles, Account.party, Account.active)
    query = select(*(col(column) for column in columns))
    return await page(session, query, order=[col(Account.name)], limit=limit, cursor=cursor)


@steps.get("/v1/accounts/{account_id}", operation_id="get_account", responses=refusals(NotFound))
async def get_account(account_id: UUID, session: Session) -> AccountShown:
    """One account."""
    account = await session.get(Account, account_id)
    if account is None:
        raise NotFound(Text("没有这个账户", "No such account"))
    return shown(account)


@steps.post(
    "/v1/accounts/{account_id}/deactivation",
    operation_id="deactivate_account",
    responses=refusals(NotFound, LastOffice),
)
async def deactivate_account(account_id: UUID, session: Session, request: Request) -> AccountShown:
    """Close an account; the tokens it holds end at once."""
    office = (literal("office") == any_(col(Account.roles))) & col(Account.active)
    # All of them are locked in one order, so that two last ones cannot close each other.
    offices = select(Account).where(office).order_by(col(Account.id)).with_for_update()
    left = {row.id for row in (await session.execute(offices)).scalars()}
    account = await session.get(Account, account_id, with_for_update=True)
    if account is None:
        raise NotFound(Text("没有这个账户", "No such account"))
    if left == {account_id}:
        raise LastOffice(Text("这是最后一个办公室账户", "This is the last account of the office"))
    account.active = False
    end_access(account, request)
    return shown(account)
