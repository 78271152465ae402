"""A toy service for the tests of the shared ground: boxes, and what it hears of guarantors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Column, Text, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, col

from shared.database import new_id
from shared.events import ROSTER, GuarantorAdmitted
from shared.money import Amount
from shared.outbox import announce
from shared.problems import NotFound, Refusal, refusals
from shared.rules import Text as Words
from shared.service import Caller, News, Service, Session, Today, router

steps = router("boxes")


class Table(SQLModel, registry=registry()):
    """The toy's tables."""


class Box(Table, table=True):
    id: UUID = Field(primary_key=True)
    name: str = Field(unique=True)
    owner: str
    phone: str = Field(sa_column=Column(Text, nullable=False, info={"personal": True}))
    weight: int = 0


class Heard(Table, table=True):
    __tablename__ = "heard"

    guarantor_id: UUID = Field(primary_key=True)
    name: str
    times: int = 1


class NewBox(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    phone: str
    amount: Amount


class BoxNamedTwice(Refusal):
    """Another box has this name."""

    rule = "R-25"
    title = Words("重名", "Named twice")


class BoxShown(BaseModel):
    id: UUID
    name: str


@steps.post("/v1/boxes", operation_id="make_box", status_code=201, responses=refusals(BoxNamedTwice))
async def make_box(body: NewBox, session: Session, who: Caller, today: Today) -> BoxShown:
    if (await session.execute(select(col(Box.id)).where(col(Box.name) == body.name))).first():
        raise BoxNamedTwice(Words("已有此名", "the name is taken"))
    box = Box(id=new_id(), name=body.name, owner=who.party or "", phone=body.phone)
    session.add(box)
    announce(
        session,
        GuarantorAdmitted(
            business_date=today, measures="2022-06-26", guarantor_id=box.id, name=box.name, effective_on=today
        ),
    )
    return BoxShown(id=box.id, name=box.name)


@steps.post("/v1/boxes/{box_id}/weighing", operation_id="weigh_box", responses=refusals(NotFound))
async def weigh_box(box_id: UUID, session: Session, who: Caller) -> dict[str, int]:
    box = await session.get(Box, box_id, with_for_update=True)
    if box is None:
        raise NotFound(Words("没有这个箱子", "No such box"))
    who.only_own(box.owner)
    box.weight += 1
    return {"weight": box.weight}


@steps.get("/v1/heard/{guarantor_id}", operation_id="get_heard", responses=refusals(NotFound))
async def get_heard(guarantor_id: UUID, session: Session, news: News) -> dict[str, str]:
    async def fetch() -> Heard | None:
        return await session.get(Heard, guarantor_id)

    found = await news.wait_for(fetch)
    if found is None:
        raise NotFound(Words("没有听说过", "Never heard of it"))
    return {"name": found.name}


async def hear(session: AsyncSession, events: Sequence[GuarantorAdmitted]) -> None:
    """Counts how often it was told, so that a doubled effect would show. Chokes on poison."""
    for event in events:
        if event.name == "poison":
            raise ValueError("poison")
        found = await session.get(Heard, event.guarantor_id)
        if found is None:
            session.add(Heard(guarantor_id=event.guarantor_id, name=event.name))
        else:
            found.times += 1


SERVICE = Service(
    name="roster",
    title="Toy",
    steps=(steps,),
    metadata=Table.metadata,
    migrations=Path(__file__).parent / "toy_migrations",
    hears=(ROSTER,),
    remembers={GuarantorAdmitted: (hear,)},
    memory=("heard",),
)

PERMISSIONS = {
    "make_box": {"office": "all", "institution": "own"},
    "weigh_box": {"office": "all", "institution": "own"},
    "get_heard": {"office": "all"},
}
