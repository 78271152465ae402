"""Do the fund's books agree with the claims (R-43, R-48)? Asked by `python -m services check`."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from services.compensation import fund
from shared.money import format_money

FAULTS = text(
    """
    WITH booked AS (
        SELECT claim_id, sum(amount_fen) FILTER (WHERE kind = 'reservation') AS reserved,
               sum(amount_fen) FILTER (WHERE kind = 'release') AS released,
               sum(amount_fen) FILTER (WHERE kind = 'payment') AS paid,
               sum(CASE kind WHEN 'recovery' THEN amount_fen WHEN 'cost_share' THEN -amount_fen END)
                   AS returned,
               sum(amount_fen) FILTER (WHERE kind = 'write_off') AS written_off
        FROM fund_entry GROUP BY claim_id
    ), received AS (
        SELECT r.claim_id, sum(t.amount_fen) AS fen FROM receipt t JOIN recovery r ON r.id = t.recovery_id
        WHERE t.party = 'fund' GROUP BY r.claim_id
    ), due AS (
        SELECT id, number, state, institution_id, approved_on,
               CASE WHEN approved_on IS NOT NULL THEN fund_principal_fen + fund_interest_fen END AS share
        FROM claim
    )
    SELECT d.number AS what, v.account, coalesce(v.booked, 0) AS booked, coalesce(v.due, 0) AS due
    FROM due d
    LEFT JOIN booked b ON b.claim_id = d.id
    LEFT JOIN payment p ON p.claim_id = d.id AND p.payer = 'fund'
    LEFT JOIN received r ON r.claim_id = d.id
    LEFT JOIN write_off w ON w.claim_id = d.id AND w.state = 'approved'
    CROSS JOIN LATERAL (VALUES
        ('reserved', b.reserved, d.share), ('paid', b.paid, p.amount_fen),
        ('released', b.released, CASE d.state WHEN 'cancelled' THEN d.share END),
        ('returned', b.returned, r.fen), ('written off', b.written_off, w.fund_fen)
    ) AS v(account, booked, due)
    WHERE coalesce(v.booked, 0) <> coalesce(v.due, 0)
    UNION ALL
    SELECT y.institution_id || ' ' || y.year, 'cleared', y.cleared_fen, coalesce(s.fen, 0)
    FROM institution_year y LEFT JOIN (
        SELECT institution_id, extract(year FROM approved_on) AS year, sum(share) AS fen FROM due
        WHERE state <> 'cancelled' GROUP BY 1, 2
    ) s ON s.institution_id = y.institution_id AND s.year = y.year
    WHERE y.cleared_fen <> coalesce(s.fen, 0)
    ORDER BY 1, 2
    """
)


async def faults(session: AsyncSession) -> list[str]:
    """Where the ledger is not what claims, payments, receipts and write-offs say, or an account is below
    zero; in words, amounts in yuan (R-43, R-48). Empty when the books agree."""
    sums = await fund.balances(session)
    wrong = [f"{name} is below zero" for name in fund.BALANCES if getattr(sums, name) < 0]
    if sums.appropriated + sums.recovered != sums.available + sums.reserved + sums.paid:
        wrong.append("the accounts do not balance")
    return wrong + [
        f"{what}: {format_money(int(booked))} {account} in the books, {format_money(int(due))} is due"
        for what, account, booked, due in await session.execute(FAULTS)
    ]
