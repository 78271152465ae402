"""The conference decides: one ballot per unit, and an offline meeting where a unit asks for one (R-45).

A ballot belongs to the figures it was cast on; when they are computed anew the ballots are void (R-41).
"""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from pydantic import ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from services.compensation import policy
from services.compensation.approval import Decision, approve
from services.compensation.claim import MOVES, Ballot, Claim, move, trace
from services.compensation.docket import about, take_up
from services.compensation.fund import FundInsufficient
from services.compensation.shown import ClaimShown, show
from shared.ballots import CastBallot, MeetingOutcome, same_figures, standing, unit_of
from shared.events import ClaimDeclined
from shared.measures import Measures, measures_on
from shared.outbox import announce
from shared.problems import IllegalMove, NotFound, PreconditionFailed, Refusal, refusals, uphold
from shared.rules import Text
from shared.service import Caller, Here, Session, Today, router

steps = router("claims")


class CastClaimBallot(CastBallot):
    """A unit's ballot on a claim. `figures` is the version of the figures the voter saw."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={"examples": [{"choice": "approve", "comment": "", "figures": 1}]},
    )


class ClaimMeetingOutcome(MeetingOutcome):
    """What the meeting decided on a claim, by its minutes; with the reason when it declined."""

    model_config = ConfigDict(
        extra="forbid",
        str_strip_whitespace=True,
        json_schema_extra={
            "examples": [
                {"outcome": "approved", "minutes_number": "平科贷会〔2026〕3号", "held_on": "2026-03-02"}
            ]
        },
    )

    reason: str = Field(default="", max_length=2000)


class MeetingDayImpossible(Refusal):
    """The meeting lies in the future, or before the figures it is said to have decided on (R-45)."""

    status = 422
    title = Text("会议日期不符", "Impossible day of the meeting")


@steps.post(
    "/v1/claims/{claim_id}/ballots",
    operation_id="cast_claim_ballot",
    responses=refusals(FundInsufficient, IllegalMove, PreconditionFailed, NotFound),
)
async def cast_claim_ballot(
    claim_id: UUID, body: CastClaimBallot, session: Session, who: Caller, today: Today, here: Here
) -> ClaimShown:
    """Cast the unit's ballot, or change it. The seventh approval approves the claim."""
    claim, loan = await take_up(session, claim_id, who)
    measures = measures_on(today)
    unit = unit_of(who, measures)
    if not {"approve", "call_meeting", "call_off_meeting"} & set(MOVES.allowed(claim.state)):
        MOVES.after(claim.state, "vote", rule="R-45")
    same_figures(body, claim.figures)
    await _cast(session, claim, body, unit, who.name, here.clock.now())
    trace(session, claim, f"ballot:{body.choice}", day=today, by=unit)
    where_it_stands = await _standing(session, claim, measures)
    if where_it_stands == "approved":
        await approve(session, claim, loan, Decision(today, today, who.name))
    elif where_it_stands == "meeting" and claim.state == "submitted":
        move(session, claim, "call_meeting", day=today, by=unit, rule="R-45")
    elif where_it_stands == "open" and claim.state == "meeting":
        move(session, claim, "call_off_meeting", day=today, by=unit, rule="R-45")
    await session.flush()
    return await show(session, claim, loan, today, who)


async def _cast(
    session: AsyncSession, claim: Claim, ballot: CastBallot, unit: str, name: str, now: datetime
) -> None:
    row = await session.get(Ballot, (claim.id, unit))
    if row is None:
        row = Ballot(case_id=claim.id, unit=unit, choice="", cast_by=name, cast_at=now, figures=claim.figures)
        session.add(row)
    row.choice, row.comment, row.cast_by, row.cast_at = ballot.choice, ballot.comment, name, now
    await session.flush()


async def _standing(session: AsyncSession, claim: Claim, measures: Measures) -> str:
    cast = (await session.execute(select(Ballot).where(col(Ballot.case_id) == claim.id))).scalars()
    return standing({ballot.unit: ballot.choice for ballot in cast}, measures)  # type: ignore[misc]


@steps.post(
    "/v1/claims/{claim_id}/meeting-outcome",
    operation_id="record_claim_meeting",
    responses=refusals(FundInsufficient, MeetingDayImpossible, IllegalMove, NotFound),
)
async def record_claim_meeting(
    claim_id: UUID, body: ClaimMeetingOutcome, session: Session, who: Caller, today: Today
) -> ClaimShown:
    """Record what the offline meeting decided. The approval's day, and R-43's year, are the meeting's."""
    claim, loan = await take_up(session, claim_id, who)
    MOVES.after(claim.state, "decline", rule="R-45")  # both outcomes need a meeting that was called
    day = policy.within(body.held_on, claim.figures_since, today, "R-45", "M-七(一)")
    uphold(day, MeetingDayImpossible, errors=[{"pointer": "#/held_on", "detail": day.reason}])
    claim.minutes_number = body.minutes_number
    if body.outcome == "approved":
        await approve(session, claim, loan, Decision(body.held_on, today, who.name))
    else:
        _decline(session, claim, body, today, who.name)
    await session.flush()
    return await show(session, claim, loan, today, who)


def _decline(session: AsyncSession, claim: Claim, outcome: ClaimMeetingOutcome, today: date, by: str) -> None:
    """R-49: final for these facts."""
    claim.reason = outcome.reason or outcome.minutes_number
    claim.closed_on = today
    facts = {"minutes": outcome.minutes_number, "reason": outcome.reason}
    move(session, claim, "decline", day=today, by=by, rule="R-45", facts=facts)
    announce(session, ClaimDeclined(**about(claim, today), reason=claim.reason))
