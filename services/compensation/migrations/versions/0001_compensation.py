"""Claims and all that follows from them, the fund's ledger, and the memory of loans."""

from alembic import op

revision = "compensation_0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE claim (
        id UUID NOT NULL,
        number VARCHAR NOT NULL,
        loan_id UUID NOT NULL,
        loan_number VARCHAR NOT NULL,
        uscc VARCHAR NOT NULL,
        enterprise_name VARCHAR NOT NULL,
        institution_id UUID NOT NULL,
        institution_name VARCHAR NOT NULL,
        guarantor_id UUID,
        guarantor_name VARCHAR,
        security_type VARCHAR NOT NULL,
        measures VARCHAR NOT NULL,
        state VARCHAR NOT NULL,
        overdue_since DATE NOT NULL,
        submitted_on DATE NOT NULL,
        claimed_on DATE NOT NULL,
        figures INTEGER NOT NULL,
        figures_since DATE NOT NULL,
        principal_fen BIGINT NOT NULL,
        interest_fen BIGINT NOT NULL,
        stated_interest_fen BIGINT NOT NULL,
        computed_interest_fen BIGINT NOT NULL,
        statement VARCHAR NOT NULL,
        fund_principal_fen BIGINT NOT NULL,
        fund_interest_fen BIGINT NOT NULL,
        guarantor_principal_fen BIGINT NOT NULL,
        guarantor_interest_fen BIGINT NOT NULL,
        institution_principal_fen BIGINT NOT NULL,
        institution_interest_fen BIGINT NOT NULL,
        cut_fen BIGINT NOT NULL,
        approved_on DATE,
        payout_due_on DATE,
        paid_on DATE,
        closed_on DATE,
        minutes_number VARCHAR,
        reason VARCHAR,
        credit_recorded_on DATE,
        credit_reference VARCHAR,
        PRIMARY KEY (id),
        CONSTRAINT claim_state CHECK (state IN ('approved', 'cancelled', 'declined', 'lapsed',
            'meeting', 'paid', 'returned', 'submitted', 'withdrawn', 'written_off')),
        CONSTRAINT claim_loss CHECK (principal_fen >= 0 AND interest_fen >= 0),
        CONSTRAINT claim_interest CHECK (interest_fen <= least(stated_interest_fen,
            computed_interest_fen)),
        CONSTRAINT claim_principal_shares CHECK (fund_principal_fen + guarantor_principal_fen +
            institution_principal_fen = principal_fen),
        CONSTRAINT claim_interest_shares CHECK (fund_interest_fen + guarantor_interest_fen +
            institution_interest_fen = interest_fen),
        CONSTRAINT claim_shares_positive CHECK (least(fund_principal_fen, fund_interest_fen,
            guarantor_principal_fen, guarantor_interest_fen, institution_principal_fen,
            institution_interest_fen, cut_fen) >= 0),
        CONSTRAINT claim_approved CHECK ((approved_on IS NOT NULL) = (state IN ('approved',
            'cancelled', 'paid', 'written_off'))),
        CONSTRAINT claim_paid CHECK ((paid_on IS NOT NULL) = (state IN ('paid', 'written_off'))),
        UNIQUE (number)
    )
    """,
    """
    CREATE INDEX claim_in_state ON claim (state, id)
    """,
    """
    CREATE UNIQUE INDEX claim_live ON claim (loan_id) WHERE state IN ('submitted', 'meeting',
            'returned', 'approved', 'paid', 'written_off')
    """,
    """
    CREATE INDEX claim_of_enterprise ON claim (uscc, id)
    """,
    """
    CREATE INDEX claim_of_guarantor ON claim (guarantor_id, id) WHERE guarantor_id IS NOT NULL
    """,
    """
    CREATE INDEX claim_of_institution ON claim (institution_id, id)
    """,
    """
    CREATE INDEX claim_of_loan ON claim (loan_id, id)
    """,
    """
    CREATE TABLE covered_loan (
        loan_id UUID NOT NULL,
        number VARCHAR NOT NULL,
        uscc VARCHAR NOT NULL,
        enterprise_name VARCHAR NOT NULL,
        institution_id UUID NOT NULL,
        institution_name VARCHAR NOT NULL,
        guarantor_id UUID,
        guarantor_name VARCHAR,
        contract_number VARCHAR NOT NULL,
        amount_fen BIGINT NOT NULL,
        annual_rate NUMERIC(6, 4) NOT NULL,
        day_count INTEGER NOT NULL,
        disbursed_on DATE NOT NULL,
        matures_on DATE NOT NULL,
        security_type VARCHAR NOT NULL,
        purpose VARCHAR NOT NULL,
        cover VARCHAR NOT NULL,
        state VARCHAR NOT NULL,
        version INTEGER NOT NULL,
        outstanding_fen BIGINT NOT NULL,
        interest_received_fen BIGINT NOT NULL,
        steps JSONB NOT NULL,
        overdue_since DATE,
        PRIMARY KEY (loan_id),
        CONSTRAINT covered_loan_cover CHECK (cover IN ('covered', 'pending', 'refused')),
        CONSTRAINT covered_loan_state CHECK (state IN ('open', 'settled', 'renewed')),
        CONSTRAINT covered_loan_outstanding CHECK (outstanding_fen >= 0 AND amount_fen > 0),
        CONSTRAINT covered_loan_interest CHECK (interest_received_fen >= 0)
    )
    """,
    """
    CREATE TABLE fund (
        single BOOLEAN NOT NULL,
        PRIMARY KEY (single),
        CONSTRAINT fund_single CHECK (single)
    )
    """,
    """
    CREATE TABLE institution_year (
        institution_id UUID NOT NULL,
        year INTEGER NOT NULL,
        cleared_fen BIGINT NOT NULL,
        cap_fen BIGINT NOT NULL,
        PRIMARY KEY (institution_id, year),
        CONSTRAINT institution_year_cap CHECK (cleared_fen BETWEEN 0 AND cap_fen)
    )
    """,
    """
    CREATE TABLE overdue_report (
        report_id UUID NOT NULL,
        loan_id UUID NOT NULL,
        overdue_since DATE NOT NULL,
        reported_on DATE NOT NULL,
        report_deadline DATE NOT NULL,
        on_time BOOLEAN NOT NULL,
        working_days_late INTEGER NOT NULL,
        unpaid_principal_fen BIGINT NOT NULL,
        unpaid_interest_fen BIGINT NOT NULL,
        cause VARCHAR NOT NULL,
        action VARCHAR NOT NULL,
        cured_on DATE,
        PRIMARY KEY (report_id),
        CONSTRAINT overdue_report_unpaid CHECK (least(unpaid_principal_fen, unpaid_interest_fen) >= 0)
    )
    """,
    """
    CREATE INDEX overdue_report_of_loan ON overdue_report (loan_id, reported_on)
    """,
    """
    CREATE TABLE ballot (
        case_id UUID NOT NULL,
        unit VARCHAR NOT NULL,
        choice VARCHAR NOT NULL,
        comment VARCHAR NOT NULL,
        cast_by VARCHAR NOT NULL,
        cast_at TIMESTAMP WITH TIME ZONE NOT NULL,
        figures INTEGER NOT NULL,
        PRIMARY KEY (case_id, unit),
        FOREIGN KEY(case_id) REFERENCES claim (id)
    )
    """,
    """
    CREATE TABLE claim_trace (
        id UUID NOT NULL,
        claim_id UUID NOT NULL,
        day DATE NOT NULL,
        move VARCHAR NOT NULL,
        state VARCHAR NOT NULL,
        by VARCHAR NOT NULL,
        facts JSONB NOT NULL,
        PRIMARY KEY (id),
        FOREIGN KEY(claim_id) REFERENCES claim (id)
    )
    """,
    """
    CREATE INDEX claim_trace_of ON claim_trace (claim_id, id)
    """,
    """
    CREATE TABLE payment (
        claim_id UUID NOT NULL,
        payer VARCHAR NOT NULL,
        amount_fen BIGINT NOT NULL,
        paid_on DATE NOT NULL,
        voucher VARCHAR NOT NULL,
        recorded_on DATE NOT NULL,
        recorded_by VARCHAR NOT NULL,
        PRIMARY KEY (claim_id, payer),
        CONSTRAINT payment_payer CHECK (payer IN ('fund', 'guarantor')),
        CONSTRAINT payment_amount CHECK (amount_fen > 0),
        FOREIGN KEY(claim_id) REFERENCES claim (id)
    )
    """,
    """
    CREATE TABLE recovery (
        id UUID NOT NULL,
        number VARCHAR NOT NULL,
        claim_id UUID NOT NULL,
        gross_fen BIGINT NOT NULL,
        costs_fen BIGINT NOT NULL,
        received_on DATE NOT NULL,
        voucher VARCHAR NOT NULL,
        repayment_id UUID,
        reverses UUID,
        state VARCHAR NOT NULL,
        recorded_on DATE NOT NULL,
        recorded_by VARCHAR NOT NULL,
        shared_on DATE,
        fund_fen BIGINT,
        guarantor_fen BIGINT,
        institution_fen BIGINT,
        PRIMARY KEY (id),
        CONSTRAINT recovery_gross CHECK (gross_fen >= 0 AND costs_fen >= 0 AND gross_fen + costs_fen >
            0),
        CONSTRAINT recovery_sum CHECK (fund_fen + guarantor_fen + institution_fen = gross_fen -
            costs_fen),
        CONSTRAINT recovery_state CHECK (state IN ('recorded', 'shared', 'void')),
        CONSTRAINT recovery_shared CHECK ((state = 'shared') = (shared_on IS NOT NULL)),
        CONSTRAINT recovery_shares CHECK ((state = 'shared') = (fund_fen IS NOT NULL)),
        CONSTRAINT recovery_voucher UNIQUE (claim_id, voucher),
        UNIQUE (number),
        FOREIGN KEY(claim_id) REFERENCES claim (id),
        FOREIGN KEY(reverses) REFERENCES recovery (id)
    )
    """,
    """
    CREATE INDEX recovery_of_claim ON recovery (claim_id, id)
    """,
    """
    CREATE UNIQUE INDEX recovery_of_repayment ON recovery (repayment_id)
    """,
    """
    CREATE UNIQUE INDEX recovery_reversed ON recovery (reverses)
    """,
    """
    CREATE TABLE write_off (
        id UUID NOT NULL,
        claim_id UUID NOT NULL,
        ground VARCHAR NOT NULL,
        evidence_number VARCHAR NOT NULL,
        evidence_date DATE NOT NULL,
        state VARCHAR NOT NULL,
        requested_on DATE NOT NULL,
        requested_by VARCHAR NOT NULL,
        fund_fen BIGINT NOT NULL,
        guarantor_fen BIGINT NOT NULL,
        institution_fen BIGINT NOT NULL,
        decided_on DATE,
        decided_by VARCHAR,
        reason VARCHAR,
        PRIMARY KEY (id),
        CONSTRAINT write_off_state CHECK (state IN ('requested', 'approved', 'declined')),
        CONSTRAINT write_off_ground CHECK (ground IN ('bankruptcy', 'liquidation',
            'enforcement_terminated')),
        CONSTRAINT write_off_amounts CHECK (least(fund_fen, guarantor_fen, institution_fen) >= 0),
        FOREIGN KEY(claim_id) REFERENCES claim (id)
    )
    """,
    """
    CREATE INDEX write_off_in_state ON write_off (state, id)
    """,
    """
    CREATE UNIQUE INDEX write_off_live ON write_off (claim_id) WHERE state <> 'declined'
    """,
    """
    CREATE INDEX write_off_of_claim ON write_off (claim_id, id)
    """,
    """
    CREATE TABLE fund_entry (
        id BIGINT GENERATED ALWAYS AS IDENTITY,
        kind VARCHAR NOT NULL,
        from_account VARCHAR NOT NULL,
        to_account VARCHAR NOT NULL,
        amount_fen BIGINT NOT NULL,
        booked_on DATE NOT NULL,
        value_date DATE NOT NULL,
        claim_id UUID,
        recovery_id UUID,
        document VARCHAR NOT NULL,
        recorded_by VARCHAR NOT NULL,
        recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
        PRIMARY KEY (id),
        CONSTRAINT fund_entry_amount CHECK (amount_fen > 0),
        CONSTRAINT fund_entry_movement CHECK ((kind = 'appropriation' AND from_account = 'appropriated'
            AND to_account = 'available') OR (kind = 'reservation' AND from_account = 'available' AND
            to_account = 'reserved') OR (kind = 'release' AND from_account = 'reserved' AND to_account
            = 'available') OR (kind = 'payment' AND from_account = 'reserved' AND to_account = 'paid')
            OR (kind = 'recovery' AND from_account = 'recovered' AND to_account = 'available') OR (kind
            = 'cost_share' AND from_account = 'available' AND to_account = 'paid') OR (kind =
            'write_off' AND from_account = 'paid' AND to_account = 'written_off')),
        CONSTRAINT fund_entry_claim CHECK ((kind = 'appropriation') = (claim_id IS NULL)),
        FOREIGN KEY(claim_id) REFERENCES claim (id),
        FOREIGN KEY(recovery_id) REFERENCES recovery (id)
    )
    """,
    """
    CREATE INDEX fund_entry_claim_id ON fund_entry (claim_id, id)
    """,
    """
    CREATE INDEX fund_entry_day ON fund_entry (booked_on, id)
    """,
    """
    CREATE TABLE receipt (
        recovery_id UUID NOT NULL,
        party VARCHAR NOT NULL,
        amount_fen BIGINT NOT NULL,
        received_on DATE NOT NULL,
        voucher VARCHAR NOT NULL,
        confirmed_on DATE NOT NULL,
        confirmed_by VARCHAR NOT NULL,
        PRIMARY KEY (recovery_id, party),
        CONSTRAINT receipt_party CHECK (party IN ('fund', 'guarantor')),
        CONSTRAINT receipt_amount CHECK (amount_fen <> 0),
        FOREIGN KEY(recovery_id) REFERENCES recovery (id)
    )
    """,
)

SEQUENCES = ("CREATE SEQUENCE claim_number", "CREATE SEQUENCE recovery_number")

# entries are only ever appended.
APPEND_ONLY = """
CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only' USING ERRCODE = 'insufficient_privilege';
END $$
"""
EACH_ENTRY = """
CREATE TRIGGER ledger_is_append_only BEFORE UPDATE OR DELETE ON fund_entry
    FOR EACH ROW EXECUTE FUNCTION ledger_is_append_only()
"""
NO_TRUNCATE = """
CREATE TRIGGER ledger_is_not_truncated BEFORE TRUNCATE ON fund_entry
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()
"""

# no account is negative. The fund's row is held, so that two entries at once are added one by one
# also when whoever appends forgot to hold it.
IN_ORDER = """
CREATE FUNCTION ledger_takes_turns() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM fund FOR UPDATE;
    RETURN NULL;
END $$
"""
BEFORE_ENTRIES = """
CREATE TRIGGER ledger_takes_turns BEFORE INSERT ON fund_entry
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_takes_turns()
"""
NOT_NEGATIVE = """
CREATE FUNCTION ledger_is_never_negative() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    balance numeric;
BEGIN
    IF NEW.from_account IN ('appropriated', 'recovered') THEN
        RETURN NULL;
    END IF;
    SELECT coalesce(sum(CASE WHEN to_account = NEW.from_account THEN amount_fen ELSE -amount_fen END), 0)
        INTO balance FROM fund_entry
        WHERE to_account = NEW.from_account OR from_account = NEW.from_account;
    IF balance < 0 THEN
        RAISE EXCEPTION 'account % would be negative', NEW.from_account USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$
"""
AFTER_ENTRY = """
CREATE TRIGGER ledger_is_never_negative AFTER INSERT ON fund_entry
    FOR EACH ROW EXECUTE FUNCTION ledger_is_never_negative()
"""
THE_FUND = "INSERT INTO fund (single) VALUES (true)"


def upgrade() -> None:
    ledger = (APPEND_ONLY, EACH_ENTRY, NO_TRUNCATE, IN_ORDER, BEFORE_ENTRIES, NOT_NEGATIVE, AFTER_ENTRY)
    for statement in (*TABLES, *SEQUENCES, *ledger, THE_FUND):
        op.execute(statement)
