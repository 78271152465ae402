"""A financial institution applies to cooperate, and the conference admits it or not (R-10, R-12)."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Member
from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from starlette.responses import Response

from services.roster import conference, policy
from services.roster.admission_case import Admission, AdmissionShown, shown
from services.roster.conference import AdmissionBallot
from services.roster.institution import MOVES, Institution
from shared.ballots import CastBallot, MeetingOutcome
from shared.database import new_id, numbered
from shared.events import InstitutionAdmitted
from shared.measures import measures_on
from shared.outbox import announce
from shared.problems import Forbidden, IllegalMove, NotFound, Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Caller, Here, Running, Session, Today, router
from shared.uscc import Uscc

steps = router("admissions")


class ApplyForAdmission(BaseModel):
    """The institution as it is to be known, and what it offers. The applicant's own id becomes the
    institution's."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    name: str = Member(min_length=2, max_length=200, examples=["平湖农村商业银行股份有限公司"])
    uscc: Uscc | None = None
    statement: str = Member(default="", max_length=4000, examples=["设立科创金融专营团队"])


class NotToBeAdmitted(Refusal):
    title = Text("不受理准入申请", "No application for admission is taken")


class AdmissionOpen(Refusal):
    title = Text("贵机构已有准入申请在审核", "An application of this institution is open")
    rule = "R-10"
    article = "M-一"


def _applicant(party: str | None) -> UUID:
    try:
        return UUID(party or "")
    except ValueError as error:
        raise Forbidden(
            Text("您的账户没有机构编号，请联系联席会议办公室", "Your account names no institution"),
            rule="R-10",
        ) from error


@steps.post(
    "/v1/admissions",
    operation_id="apply_for_admission",
    status_code=201,
    responses=refusals(NotToBeAdmitted, AdmissionOpen),
)
async def apply_for_admission(
    body: ApplyForAdmission, session: Session, who: Caller, today: Today, response: Response
) -> AdmissionShown:
    """A financial institution applies to cooperate."""
    party = _applicant(who.party)
    institution = await session.get(Institution, party)
    active = institution is not None and institution.state in ("active", "leaving")
    refused_until = institution.refused_until if institution else None
    uphold(policy.may_apply_for_admission(today, active=active, refused_until=refused_until), NotToBeAdmitted)
    open_now = exists().where(
        col(Admission.institution_id) == party, col(Admission.state).in_(("voting", "meeting"))
    )
    found = (await session.execute(select(open_now, numbered("I", "admission_number", today)))).one()
    if found[0]:
        raise AdmissionOpen(Text("请等待该申请办结", "Wait until that one is decided"))
    row = Admission(
        id=new_id(),
        number=found[1],
        institution_id=party,
        state="voting",
        opened_on=today,
        **body.model_dump(),
    )
    session.add(row)
    await session.flush()
    response.headers["Location"] = f"/v1/admissions/{row.id}"
    return await shown(session, row, today)


@steps.post(
    "/v1/admissions/{admission_id}/ballots",
    operation_id="cast_admission_ballot",
    responses=refusals(NotFound, IllegalMove),
)
async def cast_admission_ballot(
    admission_id: UUID, body: CastBallot, session: Session, who: Caller, here: Here
) -> AdmissionShown:
    """A member unit casts its ballot, or changes it while the case is open."""
    row = await conference.held(session, Admission, admission_id)
    await conference.take_ballot(session, AdmissionBallot, row, who, body, here)
    if row.state == "approved":
        await admit(session, row, here)
    return await shown(session, row, here.clock.today())


@steps.post(
    "/v1/admissions/{admission_id}/meeting-outcome",
    operation_id="record_admission_meeting",
    responses=refusals(NotFound, IllegalMove),
)
async def record_admission_meeting(
    admission_id: UUID, body: MeetingOutcome, session: Session, here: Here
) -> AdmissionShown:
    """The office records what the offline meeting decided."""
    row = await conference.held(session, Admission, admission_id)
    conference.meet(row, body, here.clock.today())
    if row.state == "approved":
        await admit(session, row, here)
    return await shown(session, row, here.clock.today())


async def admit(session: AsyncSession, case: Admission, here: Running) -> None:
    """Approved: active from the decision date (R-10)."""
    assert case.decided_on is not None
    institution = await session.get(Institution, case.institution_id, with_for_update=True)
    if institution is None:
        institution = Institution(
            id=case.institution_id, name=case.name, state="active", admitted_on=case.decided_on
        )
    else:
        _not_refused_meanwhile(institution, here.clock.today())
        institution.state = MOVES.after(institution.state, "admit", rule="R-10")
        institution.exit_on = institution.exit_cause = None
        institution.exit_reason = institution.exit_minutes_number = None
        institution.disqualified_on = institution.refused_until = None
    institution.name, institution.uscc, institution.admitted_on = case.name, case.uscc, case.decided_on
    session.add(institution)
    await session.flush()
    today = here.clock.today()
    announce(
        session,
        InstitutionAdmitted(
            business_date=today,
            measures=measures_on(today).version,
            institution_id=institution.id,
            name=institution.name,
            effective_on=case.decided_on,
        ),
    )


def _not_refused_meanwhile(institution: Institution, today: date) -> None:
    """Disqualified after it applied: the years of R-12 hold for the decision too."""
    verdict = policy.may_apply_for_admission(today, active=False, refused_until=institution.refused_until)
    uphold(verdict, NotToBeAdmitted)
