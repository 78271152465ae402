"""An enterprise without the first nine qualifications is nominated and voted on (R-07, category ten)."""

from __future__ import annotations

from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Member
from sqlalchemy import exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from starlette.responses import Response

from services.roster import conference, policy, support_list
from services.roster.conference import NominationBallot
from services.roster.enterprise import Enterprise, Qualification
from services.roster.nomination_case import Nomination, NominationShown, shown
from shared.ballots import CastBallot, MeetingOutcome
from shared.database import new_id, numbered
from shared.identity import Principal
from shared.measures import measures_on
from shared.problems import IllegalMove, NotFound, Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Caller, Here, Running, Session, Today, router
from shared.uscc import Uscc

steps = router("nominations")


class NominateEnterprise(BaseModel):
    """Which enterprise, and why it deserves the list without the first nine qualifications."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    uscc: Uscc
    name: str = Member(min_length=2, max_length=200, examples=["平湖精工传感科技有限公司"])
    reasons: str = Member(min_length=1, max_length=4000, examples=["研发投入占比高，缺乏融资渠道"])


class NotToBeNominated(Refusal):
    title = Text("不需要或不能提名", "Not to be nominated")


class NominationOpen(Refusal):
    title = Text("该企业已有提名在审核", "A nomination of this enterprise is open")
    rule = "R-07"
    article = "M-二(二)"


def _only_itself(who: Principal, uscc: str) -> None:
    """An enterprise nominates itself; institutions and the office nominate any."""
    if "enterprise" in who.roles and who.party != uscc:
        raise NotFound(Text("未找到这一案件", "No such case"))


@steps.post(
    "/v1/nominations",
    operation_id="nominate_enterprise",
    status_code=201,
    responses=refusals(NotToBeNominated, NominationOpen, NotFound),
)
async def nominate_enterprise(
    body: NominateEnterprise, session: Session, who: Caller, today: Today, response: Response
) -> NominationShown:
    """Nominate an enterprise for the conference's vote: itself, an institution, or the office."""
    _only_itself(who, body.uscc)
    by_document = [one.code for one in measures_on(today).categories if one.by_document]
    holds = exists().where(
        col(Qualification.uscc) == body.uscc,
        col(Qualification.category).in_(by_document),
        col(Qualification.superseded_on).is_(None),
        col(Qualification.days).contains(today),
    )
    open_now = exists().where(
        col(Nomination.uscc) == body.uscc, col(Nomination.state).in_(("voting", "meeting"))
    )
    number = numbered("N", "nomination_number", today)
    found = (await session.execute(select(holds, open_now, number))).one()
    uphold(policy.may_nominate(holds_document=found[0]), NotToBeNominated)
    if found[1]:
        raise NominationOpen(Text("请等待该提名办结", "Wait until that one is decided"))
    row = Nomination(
        id=new_id(),
        number=found[2],
        nominated_by=next(iter(sorted(who.roles & {"enterprise", "institution", "office"}))),
        nominated_by_party=who.party,
        state="voting",
        opened_on=today,
        **body.model_dump(),
    )
    session.add(row)
    await session.flush()
    response.headers["Location"] = f"/v1/nominations/{row.id}"
    return await shown(session, row, today)


@steps.post(
    "/v1/nominations/{nomination_id}/ballots",
    operation_id="cast_nomination_ballot",
    responses=refusals(NotFound, IllegalMove),
)
async def cast_nomination_ballot(
    nomination_id: UUID, body: CastBallot, session: Session, who: Caller, here: Here
) -> NominationShown:
    """A member unit casts its ballot, or changes it while the case is open."""
    row = await conference.held(session, Nomination, nomination_id)
    await conference.take_ballot(session, NominationBallot, row, who, body, here)
    if row.state == "approved":
        await qualify(session, row, here)
    return await shown(session, row, here.clock.today())


@steps.post(
    "/v1/nominations/{nomination_id}/meeting-outcome",
    operation_id="record_nomination_meeting",
    responses=refusals(NotFound, IllegalMove),
)
async def record_nomination_meeting(
    nomination_id: UUID, body: MeetingOutcome, session: Session, here: Here
) -> NominationShown:
    """The office records what the offline meeting decided."""
    row = await conference.held(session, Nomination, nomination_id)
    conference.meet(row, body, here.clock.today())
    if row.state == "approved":
        await qualify(session, row, here)
    return await shown(session, row, here.clock.today())


async def qualify(session: AsyncSession, case: Nomination, here: Running) -> None:
    """Approved: the enterprise holds the tenth qualification, with the case as its document."""
    today, now = here.clock.today(), here.clock.now()
    decided_on = case.decided_on or today
    await session.execute(insert(Enterprise).values(uscc=case.uscc, name=case.name).on_conflict_do_nothing())
    await support_list.lock(session, [case.uscc])
    category = next(one.code for one in measures_on(today).categories if not one.by_document)
    qualification = new_id()
    session.add(
        Qualification(
            id=qualification,
            qualification_id=qualification,
            uscc=case.uscc,
            category=category,
            document_no=case.number,
            issued_on=decided_on,
            valid_from=decided_on,
            source="nomination",
            source_id=case.id,
            recorded_on=today,
            recorded_at=now,
        )
    )
    await support_list.relist(session, case.uscc, "qualification", case.number, today, now)
