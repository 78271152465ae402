"""The office makes, renews and revokes the clients of core systems. A secret is shown once; a revoked
client is out within a second (`ended.py`)."""

from __future__ import annotations

import secrets

from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlmodel import col
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.account import Client
from services.gateway.holder import Holder, roles_and_party
from services.gateway.keys import utc_now
from services.gateway.shown import NameTaken, end_access
from services.gateway.token import secret_hash
from shared.database import AsyncSession
from shared.pages import Cursor, Limit, Page, page
from shared.problems import NotFound, refusals
from shared.rules import Text
from shared.service import Session, Today, router

steps = router("identity")


class NewClient(Holder):
    """The client's id, and who it is for."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{2,63}$", examples=["icbc-core"])


class ClientShown(BaseModel):
    """A client of a core system."""

    id: str = Field(examples=["icbc-core"])
    display_name: str = Field(examples=["工商银行核心系统"])
    roles: list[str] = Field(examples=[["institution"]])
    party: str | None = Field(examples=["0192f3a0-1c1b-7d5e-9b1a-2f6d5a3c4e5f"])
    active: bool = Field(examples=[True])


class ClientMade(ClientShown):
    """The client and its secret. The secret is shown this once: a repeat of the request is answered
    without it; `renew_client_secret` makes another."""

    secret: str | None = Field(examples=["3vQ0bPcm6wqjDn2u8dXkq1m5yq7oVb9x0hTzZr4cEgA"])


@steps.post("/v1/clients", operation_id="create_client", status_code=201, responses=refusals(NameTaken))
async def create_client(
    body: NewClient, session: Session, today: Today, request: Request, response: Response
) -> ClientMade:
    """Make a client for a core system; its secret is shown this once."""
    roles, party = roles_and_party(body, today, machine=True)
    if await session.get(Client, body.id):
        raise NameTaken(Text(f"客户端 {body.id} 已存在", f"The client {body.id} exists"))
    client = Client(
        id=body.id,
        display_name=body.display_name,
        secret="",
        roles=roles,
        party=party,
        created_at=utc_now(),
    )
    made = _give_secret(client, request, 201)
    session.add(client)
    response.headers["Location"] = f"/v1/clients/{client.id}"
    return made


@steps.get("/v1/clients", operation_id="list_clients", response_model=Page[ClientShown])
async def list_clients(session: Session, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """All clients by id."""
    columns = (Client.id, Client.display_name, Client.roles, Client.party, Client.active)
    query = select(*(col(column) for column in columns))
    return await page(session, query, order=[col(Client.id)], limit=limit, cursor=cursor)


@steps.get("/v1/clients/{client_id}", operation_id="get_client", responses=refusals(NotFound))
async def get_client(client_id: str, session: Session) -> ClientShown:
    """One client, without its secret."""
    client = await session.get(Client, client_id)
    if client is None:
        raise NotFound(Text("没有这个客户端", "No such client"))
    return _shown(client)


@steps.post(
    "/v1/clients/{client_id}/secret", operation_id="renew_client_secret", responses=refusals(NotFound)
)
async def renew_client_secret(client_id: str, session: Session, request: Request) -> ClientMade:
    """A new secret. The old one and the tokens it got end at once."""
    client = await _active(session, client_id)
    end_access(client, request)
    return _give_secret(client, request, 200)


@steps.post("/v1/clients/{client_id}/revocation", operation_id="revoke_client", responses=refusals(NotFound))
async def revoke_client(client_id: str, session: Session, request: Request) -> ClientShown:
    """Revoke a client: it gets no more tokens, and those it has end at once."""
    client = await _active(session, client_id)
    client.active = False
    end_access(client, request)
    return _shown(client)


def _give_secret(client: Client, request: Request, status: int) -> ClientMade:
    secret = secrets.token_urlsafe(32)
    client.secret = secret_hash(secret)
    made = ClientMade(**_shown(client).model_dump(), secret=secret)
    headers = {"Location": f"/v1/clients/{client.id}"} if status == 201 else None
    without = made.model_copy(update={"secret": None}).model_dump(mode="json")
    request.state.answer_to_keep = JSONResponse(without, status, headers)
    return made


def _shown(client: Client) -> ClientShown:
    return ClientShown.model_validate(client, from_attributes=True)


async def _active(session: AsyncSession, client_id: str) -> Client:
    client = await session.get(Client, client_id, with_for_update=True)
    if client is None or not client.active:
        raise NotFound(Text("没有这个客户端，或已撤销", "No such client, or revoked"))
    return client
