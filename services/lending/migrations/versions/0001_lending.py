"""Loans, applications, repayments, reports, exposure; the memory of others; the LPR so far."""

from alembic import op

revision = "lending_0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE application (
        id uuid NOT NULL,
        number varchar NOT NULL,
        uscc varchar NOT NULL,
        enterprise_name varchar NOT NULL,
        institution_id uuid NOT NULL,
        institution_name varchar NOT NULL,
        amount_fen bigint NOT NULL,
        term_months integer NOT NULL,
        security_type varchar NOT NULL,
        purpose varchar NOT NULL,
        renews uuid,
        state varchar NOT NULL,
        applied_on date NOT NULL,
        decided_on date,
        approved_amount_fen bigint,
        approved_rate numeric(6, 4),
        approved_term_months integer,
        approved_security_type varchar,
        unfiled_fen bigint NOT NULL,
        lapses_on date,
        reason varchar,
        PRIMARY KEY (id),
        CONSTRAINT application_amount CHECK (amount_fen > 0),
        CONSTRAINT application_approved CHECK (approved_amount_fen <= amount_fen),
        CONSTRAINT application_rest CHECK (unfiled_fen BETWEEN 0 AND coalesce(approved_amount_fen, 0)),
        CONSTRAINT application_state CHECK (state IN ('applied', 'approved', 'filed', 'lapsed',
            'rejected', 'withdrawn')),
        UNIQUE (number)
    )
    """,
    """
    CREATE INDEX application_lapsing ON application (lapses_on) WHERE state = 'approved'
    """,
    """
    CREATE INDEX application_of_enterprise ON application (uscc, id)
    """,
    """
    CREATE INDEX application_of_institution ON application (institution_id, id)
    """,
    """
    CREATE TABLE borrower (
        uscc varchar NOT NULL,
        name varchar NOT NULL,
        listed datemultirange DEFAULT '{}' NOT NULL,
        registered boolean DEFAULT false NOT NULL,
        PRIMARY KEY (uscc)
    )
    """,
    """
    CREATE TABLE claim (
        claim_id uuid NOT NULL,
        loan_id uuid NOT NULL,
        number varchar NOT NULL,
        state varchar NOT NULL,
        approved_on date,
        fund_paid_fen bigint NOT NULL,
        guarantor_paid_fen bigint NOT NULL,
        paid_on date,
        PRIMARY KEY (claim_id),
        CONSTRAINT claim_paid CHECK (fund_paid_fen >= 0 AND guarantor_paid_fen >= 0),
        CONSTRAINT claim_state CHECK (state IN ('approved', 'cancelled', 'paid'))
    )
    """,
    """
    CREATE UNIQUE INDEX claim_of_loan ON claim (loan_id) WHERE state <> 'cancelled'
    """,
    """
    CREATE TABLE exposure (
        uscc varchar NOT NULL,
        committed_fen bigint NOT NULL,
        PRIMARY KEY (uscc),
        CONSTRAINT exposure_committed CHECK (committed_fen >= 0)
    )
    """,
    """
    CREATE TABLE guarantor (
        guarantor_id uuid NOT NULL,
        name varchar NOT NULL,
        active datemultirange NOT NULL,
        PRIMARY KEY (guarantor_id)
    )
    """,
    """
    CREATE TABLE lender (
        institution_id uuid NOT NULL,
        name varchar NOT NULL,
        active datemultirange NOT NULL,
        PRIMARY KEY (institution_id)
    )
    """,
    """
    CREATE TABLE reference_rate (
        published_on date NOT NULL,
        one_year numeric(6, 4) NOT NULL,
        five_year numeric(6, 4) NOT NULL,
        PRIMARY KEY (published_on),
        CONSTRAINT reference_rate_positive CHECK (one_year > 0 AND five_year > 0)
    )
    """,
    """
    CREATE TABLE working_calendar (
        year integer NOT NULL,
        exceptions jsonb NOT NULL,
        PRIMARY KEY (year)
    )
    """,
    """
    CREATE TABLE loan (
        id uuid NOT NULL,
        number varchar NOT NULL,
        application_id uuid NOT NULL,
        uscc varchar NOT NULL,
        enterprise_name varchar NOT NULL,
        institution_id uuid NOT NULL,
        institution_name varchar NOT NULL,
        contract_number varchar NOT NULL,
        amount_fen bigint NOT NULL,
        annual_rate numeric(6, 4) NOT NULL,
        day_count integer NOT NULL,
        due_day integer NOT NULL,
        disbursed_on date NOT NULL,
        matures_on date NOT NULL,
        security_type varchar NOT NULL,
        guarantor_id uuid,
        guarantor_name varchar,
        repayment_method varchar NOT NULL,
        purpose varchar NOT NULL,
        first_loan boolean NOT NULL,
        long_term boolean NOT NULL,
        renews uuid,
        renewed_by uuid,
        renewals integer NOT NULL,
        reference_tenor varchar,
        reference_rate numeric(6, 4),
        rate_reason varchar,
        measures varchar NOT NULL,
        filed_on date NOT NULL,
        state varchar NOT NULL,
        version integer NOT NULL,
        outstanding_fen bigint NOT NULL,
        interest_received_fen bigint NOT NULL,
        next_due_on date,
        overdue_since date,
        report_deadline date,
        deadline_provisional boolean NOT NULL,
        settled_on date,
        PRIMARY KEY (id),
        CONSTRAINT loan_contract_number UNIQUE (institution_id, contract_number),
        CONSTRAINT loan_amount CHECK (amount_fen > 0),
        CONSTRAINT loan_outstanding CHECK (outstanding_fen BETWEEN 0 AND amount_fen),
        CONSTRAINT loan_interest CHECK (interest_received_fen >= 0),
        CONSTRAINT loan_term CHECK (matures_on > disbursed_on),
        CONSTRAINT loan_guarantor CHECK ((guarantor_id IS NOT NULL) = (security_type = 'guarantee')),
        CONSTRAINT loan_overdue CHECK ((overdue_since IS NOT NULL) = (state = 'overdue')),
        CONSTRAINT loan_closed CHECK (state NOT IN ('settled', 'renewed') OR outstanding_fen = 0),
        CONSTRAINT loan_state CHECK (state IN ('active', 'exception_pending', 'exception_refused',
            'overdue', 'renewed', 'settled')),
        CONSTRAINT loan_security CHECK (security_type IN ('credit', 'pledge', 'ip_pledge', 'guarantee',
            'mortgage')),
        CONSTRAINT loan_method CHECK (repayment_method IN ('bullet_interest_monthly',
            'bullet_interest_quarterly', 'equal_principal', 'equal_instalment', 'bullet_all', 'explicit')),
        UNIQUE (number),
        FOREIGN KEY(application_id) REFERENCES application (id)
    )
    """,
    """
    CREATE INDEX loan_falling_due ON loan (next_due_on) WHERE state = 'active'
    """,
    """
    CREATE INDEX loan_long_term ON loan (id) WHERE long_term
    """,
    """
    CREATE INDEX loan_of_application ON loan (application_id)
    """,
    """
    CREATE INDEX loan_of_enterprise ON loan (uscc, id)
    """,
    """
    CREATE INDEX loan_of_guarantor ON loan (guarantor_id, id) WHERE guarantor_id IS NOT NULL
    """,
    """
    CREATE INDEX loan_of_institution ON loan (institution_id, id)
    """,
    """
    CREATE INDEX loan_renews ON loan (renews) WHERE renews IS NOT NULL
    """,
    """
    CREATE INDEX loan_to_watch ON loan (state, id) WHERE state IN ('overdue', 'exception_pending')
    """,
    """
    CREATE TABLE due (
        loan_id uuid NOT NULL,
        due_on date NOT NULL,
        principal_fen bigint NOT NULL,
        filed_interest_fen bigint NOT NULL,
        interest_fen bigint NOT NULL,
        principal_paid_fen bigint NOT NULL,
        interest_paid_fen bigint NOT NULL,
        PRIMARY KEY (loan_id, due_on),
        CONSTRAINT due_principal CHECK (principal_paid_fen BETWEEN 0 AND principal_fen),
        CONSTRAINT due_interest CHECK (interest_paid_fen BETWEEN 0 AND interest_fen),
        CONSTRAINT due_filed_interest CHECK (interest_fen <= filed_interest_fen),
        FOREIGN KEY(loan_id) REFERENCES loan (id)
    )
    """,
    """
    CREATE TABLE overdue_report (
        id uuid NOT NULL,
        loan_id uuid NOT NULL,
        overdue_since date NOT NULL,
        reported_on date NOT NULL,
        report_deadline date NOT NULL,
        on_time boolean NOT NULL,
        working_days_late integer NOT NULL,
        provisional_years integer[] NOT NULL,
        unpaid_principal_fen bigint NOT NULL,
        unpaid_interest_fen bigint NOT NULL,
        recorded_principal_fen bigint NOT NULL,
        recorded_interest_fen bigint NOT NULL,
        cause varchar NOT NULL,
        action varchar NOT NULL,
        reported_by varchar NOT NULL,
        PRIMARY KEY (id),
        CONSTRAINT overdue_report_once UNIQUE (loan_id, overdue_since),
        CONSTRAINT overdue_report_unpaid CHECK (unpaid_principal_fen >= 0 AND unpaid_interest_fen >= 0),
        CONSTRAINT overdue_report_recorded
            CHECK (recorded_principal_fen >= 0 AND recorded_interest_fen >= 0),
        CONSTRAINT overdue_report_late CHECK (working_days_late >= 0),
        FOREIGN KEY(loan_id) REFERENCES loan (id)
    )
    """,
    """
    CREATE TABLE principal_step (
        loan_id uuid NOT NULL,
        from_day date NOT NULL,
        repaid_fen bigint NOT NULL,
        PRIMARY KEY (loan_id, from_day),
        CONSTRAINT principal_step_repaid CHECK (repaid_fen >= 0),
        FOREIGN KEY(loan_id) REFERENCES loan (id)
    )
    """,
    """
    CREATE TABLE rate_exception (
        loan_id uuid NOT NULL,
        decision varchar NOT NULL,
        reason varchar NOT NULL,
        decided_on date NOT NULL,
        decided_by varchar NOT NULL,
        PRIMARY KEY (loan_id),
        CONSTRAINT rate_decision CHECK (decision IN ('accepted', 'refused')),
        FOREIGN KEY(loan_id) REFERENCES loan (id)
    )
    """,
    """
    CREATE TABLE repayment (
        id uuid NOT NULL,
        loan_id uuid NOT NULL,
        institution_id uuid NOT NULL,
        reference varchar NOT NULL,
        principal_fen bigint NOT NULL,
        interest_fen bigint NOT NULL,
        value_date date NOT NULL,
        recorded_on date NOT NULL,
        reverses uuid,
        reason varchar,
        PRIMARY KEY (id),
        CONSTRAINT repayment_reference UNIQUE (institution_id, reference),
        CONSTRAINT repayment_reversed_once UNIQUE (reverses),
        CONSTRAINT repayment_sign CHECK (CASE WHEN reverses IS NULL THEN principal_fen >= 0 AND
            interest_fen >= 0 ELSE principal_fen <= 0 AND interest_fen <= 0 END),
        CONSTRAINT repayment_amount CHECK (principal_fen <> 0 OR interest_fen <> 0),
        FOREIGN KEY(loan_id) REFERENCES loan (id),
        FOREIGN KEY(reverses) REFERENCES repayment (id)
    )
    """,
    """
    CREATE INDEX repayment_of_loan ON repayment (loan_id, id)
    """,
    """
    CREATE TABLE roster_case (
        id uuid NOT NULL,
        loan_id uuid NOT NULL,
        cause varchar NOT NULL,
        found_on date NOT NULL,
        state varchar NOT NULL,
        reason varchar,
        decided_on date,
        decided_by varchar,
        PRIMARY KEY (id),
        CONSTRAINT roster_case_cause CHECK (cause IN ('not_listed', 'institution_not_active')),
        CONSTRAINT roster_case_state CHECK (state IN ('kept', 'not_covered', 'open')),
        FOREIGN KEY(loan_id) REFERENCES loan (id)
    )
    """,
    """
    CREATE UNIQUE INDEX roster_case_once ON roster_case (loan_id, cause)
    """,
    """
    CREATE INDEX roster_case_open ON roster_case (id) WHERE state = 'open'
    """,
)

# Published on the 20th of each month, or the next working day; each quote stands until the next. The days
# on which a figure changed, and the newest known to be unchanged.
LPR = (
    ("2019-08-20", "4.25", "4.85"),
    ("2019-09-20", "4.20", "4.85"),
    ("2019-11-20", "4.15", "4.80"),
    ("2020-02-20", "4.05", "4.75"),
    ("2020-04-20", "3.85", "4.65"),
    ("2021-12-20", "3.80", "4.65"),
    ("2022-01-20", "3.70", "4.60"),
    ("2022-05-20", "3.70", "4.45"),
    ("2022-07-20", "3.70", "4.45"),
    ("2022-08-22", "3.65", "4.30"),
    ("2023-06-20", "3.55", "4.20"),
    ("2023-08-21", "3.45", "4.20"),
    ("2024-02-20", "3.45", "3.95"),
    ("2024-07-22", "3.35", "3.85"),
    ("2024-10-21", "3.10", "3.60"),
    ("2025-05-20", "3.00", "3.50"),
    ("2026-08-20", "3.00", "3.50"),
)


def upgrade() -> None:
    for sequence in ("application_number", "loan_number"):
        op.execute(f"CREATE SEQUENCE {sequence}")
    for statement in TABLES:
        op.execute(statement)
    quotes = ", ".join(f"(DATE '{day}', {one}, {five})" for day, one, five in LPR)
    op.execute(f"INSERT INTO reference_rate (published_on, one_year, five_year) VALUES {quotes}")  # noqa: S608
