"""Enterprises and their records, the conference's cases, institutions, imports, project bars."""

from alembic import op

revision = "roster_0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    """
    CREATE TABLE admission (
        id UUID NOT NULL,
        number VARCHAR NOT NULL,
        institution_id UUID NOT NULL,
        name VARCHAR NOT NULL,
        uscc VARCHAR,
        statement VARCHAR NOT NULL,
        state VARCHAR NOT NULL,
        opened_on DATE NOT NULL,
        decided_on DATE,
        minutes_number VARCHAR,
        PRIMARY KEY (id),
        CONSTRAINT admission_state CHECK (state IN ('approved', 'declined', 'meeting', 'voting')),
        CONSTRAINT admission_decided CHECK ((state IN ('approved', 'declined')) =
            (decided_on IS NOT NULL)),
        CONSTRAINT admission_decided_after CHECK (decided_on >= opened_on),
        UNIQUE (number)
    )
    """,
    """
    CREATE INDEX admission_in_state ON admission (state, id)
    """,
    """
    CREATE INDEX admission_of_institution ON admission (institution_id, id)
    """,
    """
    CREATE UNIQUE INDEX admission_open_once ON admission (institution_id) WHERE state IN
        ('voting', 'meeting')
    """,
    """
    CREATE TABLE enterprise (
        uscc VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        listed DATEMULTIRANGE DEFAULT '{}' NOT NULL,
        PRIMARY KEY (uscc),
        CONSTRAINT enterprise_uscc CHECK (char_length(uscc) = 18)
    )
    """,
    """
    CREATE INDEX enterprise_name ON enterprise USING gin (name gin_trgm_ops)
    """,
    """
    CREATE TABLE guarantor (
        id UUID NOT NULL,
        uscc VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        state VARCHAR NOT NULL,
        admitted_on DATE NOT NULL,
        exit_on DATE,
        PRIMARY KEY (id),
        CONSTRAINT guarantor_state CHECK (state IN ('active', 'exited', 'leaving')),
        CONSTRAINT guarantor_exit CHECK ((state IN ('leaving', 'exited')) <= (exit_on IS NOT NULL)),
        UNIQUE (uscc)
    )
    """,
    """
    CREATE INDEX guarantor_leaving ON guarantor (exit_on) WHERE state = 'leaving'
    """,
    """
    CREATE INDEX guarantor_name ON guarantor (name, id)
    """,
    """
    CREATE TABLE institution (
        id UUID NOT NULL,
        name VARCHAR NOT NULL,
        uscc VARCHAR,
        state VARCHAR NOT NULL,
        admitted_on DATE NOT NULL,
        exit_on DATE,
        exit_cause VARCHAR,
        exit_reason VARCHAR,
        exit_minutes_number VARCHAR,
        disqualified_on DATE,
        refused_until DATE,
        PRIMARY KEY (id),
        CONSTRAINT institution_state CHECK (state IN ('active', 'disqualified', 'exited', 'leaving')),
        CONSTRAINT institution_exit_cause CHECK (exit_cause IN ('own_notice', 'conference_decision')),
        CONSTRAINT institution_exit CHECK ((state IN ('leaving', 'exited')) <= (exit_on IS NOT NULL)),
        CONSTRAINT institution_refusal CHECK ((state = 'disqualified') = (refused_until IS NOT NULL))
    )
    """,
    """
    CREATE INDEX institution_leaving ON institution (exit_on) WHERE state = 'leaving'
    """,
    """
    CREATE INDEX institution_name ON institution (name, id)
    """,
    """
    CREATE TABLE list_change (
        id UUID NOT NULL,
        uscc VARCHAR NOT NULL,
        recorded_on DATE NOT NULL,
        recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
        from_day DATE NOT NULL,
        on_list BOOLEAN NOT NULL,
        cause VARCHAR NOT NULL,
        document TEXT NOT NULL,
        listed DATEMULTIRANGE NOT NULL,
        PRIMARY KEY (id),
        CONSTRAINT list_change_cause CHECK (cause IN ('qualification', 'expiry',
            'revocation', 'd_class_start', 'd_class_end', 'renewal'))
    )
    """,
    """
    CREATE INDEX list_change_of_enterprise ON list_change (uscc, recorded_on, id)
    """,
    """
    CREATE TABLE list_import (
        id UUID NOT NULL,
        kind VARCHAR NOT NULL,
        category VARCHAR,
        document_no VARCHAR NOT NULL,
        issued_on DATE,
        valid_from DATE,
        valid_to DATE,
        dry_run BOOLEAN NOT NULL,
        file_name VARCHAR NOT NULL,
        sha256 VARCHAR NOT NULL,
        state VARCHAR NOT NULL,
        attempts INTEGER DEFAULT '0' NOT NULL,
        refusal JSONB,
        sheet VARCHAR,
        headers TEXT[],
        rows_read INTEGER DEFAULT '0' NOT NULL,
        rows_done INTEGER DEFAULT '0' NOT NULL,
        added INTEGER DEFAULT '0' NOT NULL,
        renewed INTEGER DEFAULT '0' NOT NULL,
        unchanged INTEGER DEFAULT '0' NOT NULL,
        refused INTEGER DEFAULT '0' NOT NULL,
        enterprises_changed INTEGER DEFAULT '0' NOT NULL,
        sample JSONB,
        uploaded_by VARCHAR NOT NULL,
        uploaded_by_name VARCHAR NOT NULL,
        uploaded_on DATE NOT NULL,
        uploaded_at TIMESTAMP WITH TIME ZONE NOT NULL,
        finished_at TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (id),
        CONSTRAINT list_import_state CHECK (state IN ('waiting', 'reading', 'checking',
            'applying', 'done', 'refused')),
        CONSTRAINT list_import_kind CHECK (kind IN ('qualification', 'd_class')),
        CONSTRAINT list_import_category CHECK ((kind = 'qualification') = (category IS NOT NULL)),
        CONSTRAINT list_import_refusal CHECK ((state = 'refused') = (refusal IS NOT NULL))
    )
    """,
    """
    CREATE INDEX list_import_unfinished ON list_import (id) WHERE state NOT IN ('done', 'refused')
    """,
    """
    CREATE TABLE nomination (
        id UUID NOT NULL,
        number VARCHAR NOT NULL,
        uscc VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        reasons VARCHAR NOT NULL,
        nominated_by VARCHAR NOT NULL,
        nominated_by_party VARCHAR,
        state VARCHAR NOT NULL,
        opened_on DATE NOT NULL,
        decided_on DATE,
        minutes_number VARCHAR,
        PRIMARY KEY (id),
        CONSTRAINT nomination_state CHECK (state IN ('approved', 'declined', 'meeting', 'voting')),
        CONSTRAINT nomination_decided CHECK ((state IN ('approved', 'declined')) =
            (decided_on IS NOT NULL)),
        CONSTRAINT nomination_decided_after CHECK (decided_on >= opened_on),
        UNIQUE (number)
    )
    """,
    """
    CREATE INDEX nomination_by_party ON nomination (nominated_by_party, id)
    """,
    """
    CREATE INDEX nomination_in_state ON nomination (state, id)
    """,
    """
    CREATE INDEX nomination_of_enterprise ON nomination (uscc, id)
    """,
    """
    CREATE UNIQUE INDEX nomination_open_once ON nomination (uscc) WHERE state IN ('voting', 'meeting')
    """,
    """
    CREATE TABLE project_bar (
        claim_id UUID NOT NULL,
        uscc VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        began_on DATE,
        until DATE,
        lifted_on DATE,
        PRIMARY KEY (claim_id)
    )
    """,
    """
    CREATE INDEX project_bar_of_enterprise ON project_bar (uscc)
    """,
    """
    CREATE TABLE working_calendar (
        year INTEGER NOT NULL,
        exceptions JSONB NOT NULL,
        PRIMARY KEY (year)
    )
    """,
    """
    CREATE TABLE admission_ballot (
        case_id UUID NOT NULL,
        unit VARCHAR NOT NULL,
        choice VARCHAR NOT NULL,
        comment VARCHAR NOT NULL,
        cast_by VARCHAR NOT NULL,
        cast_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (case_id, unit),
        FOREIGN KEY(case_id) REFERENCES admission (id)
    )
    """,
    """
    CREATE TABLE d_class_period (
        id UUID NOT NULL,
        d_class_period_id UUID NOT NULL,
        uscc VARCHAR NOT NULL,
        document_no VARCHAR NOT NULL,
        issued_on DATE,
        valid_from DATE NOT NULL,
        valid_to DATE,
        revoked_from DATE,
        revocation_reason VARCHAR,
        days DATERANGE GENERATED ALWAYS AS (daterange(valid_from, CASE WHEN valid_to IS NULL
            AND revoked_from IS NULL THEN NULL
                ELSE greatest(valid_from, least(valid_to + 1, revoked_from)) END)) STORED,
        source VARCHAR NOT NULL,
        source_id UUID NOT NULL,
        recorded_on DATE NOT NULL,
        recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
        superseded_on DATE,
        superseded_at TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (id),
        CONSTRAINT d_class_period_valid CHECK (valid_to >= valid_from),
        CONSTRAINT d_class_period_superseded CHECK ((superseded_on IS NULL) = (superseded_at IS NULL)),
        CONSTRAINT d_class_period_known CHECK (superseded_on >= recorded_on),
        CONSTRAINT d_class_period_revoked CHECK ((revoked_from IS NULL) = (revocation_reason IS NULL)),
        CONSTRAINT d_class_period_source CHECK (source IN ('import', 'nomination')),
        FOREIGN KEY(uscc) REFERENCES enterprise (uscc)
    )
    """,
    """
    CREATE INDEX d_class_period_begins ON d_class_period (lower(days)) WHERE superseded_on IS NULL
    """,
    """
    CREATE INDEX d_class_period_ends ON d_class_period (upper(days)) WHERE superseded_on IS NULL
    """,
    """
    CREATE INDEX d_class_period_of_enterprise ON d_class_period (uscc, recorded_on)
    """,
    """
    CREATE UNIQUE INDEX d_class_period_once ON d_class_period (uscc, document_no) WHERE
        superseded_on IS NULL
    """,
    """
    CREATE INDEX d_class_period_versions ON d_class_period (d_class_period_id)
    """,
    """
    CREATE TABLE import_file (
        import_id UUID NOT NULL,
        content BYTEA NOT NULL,
        PRIMARY KEY (import_id),
        FOREIGN KEY(import_id) REFERENCES list_import (id)
    )
    """,
    """
    CREATE TABLE import_row (
        import_id UUID NOT NULL,
        row_number INTEGER NOT NULL,
        outcome VARCHAR NOT NULL,
        uscc VARCHAR,
        name VARCHAR,
        document_no VARCHAR,
        valid_from DATE,
        valid_to DATE,
        problems JSONB,
        cells VARCHAR,
        PRIMARY KEY (import_id, row_number),
        CONSTRAINT import_row_outcome CHECK (outcome IN ('added', 'renewed', 'unchanged', 'refused')),
        CONSTRAINT import_row_problems CHECK ((outcome = 'refused') = (problems IS NOT NULL)),
        FOREIGN KEY(import_id) REFERENCES list_import (id)
    )
    """,
    """
    CREATE INDEX import_row_by_outcome ON import_row (import_id, outcome, row_number)
    """,
    """
    CREATE TABLE nomination_ballot (
        case_id UUID NOT NULL,
        unit VARCHAR NOT NULL,
        choice VARCHAR NOT NULL,
        comment VARCHAR NOT NULL,
        cast_by VARCHAR NOT NULL,
        cast_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (case_id, unit),
        FOREIGN KEY(case_id) REFERENCES nomination (id)
    )
    """,
    """
    CREATE TABLE qualification (
        id UUID NOT NULL,
        qualification_id UUID NOT NULL,
        uscc VARCHAR NOT NULL,
        category VARCHAR NOT NULL,
        document_no VARCHAR NOT NULL,
        certificate_no VARCHAR,
        issued_on DATE,
        valid_from DATE NOT NULL,
        valid_to DATE,
        revoked_from DATE,
        revocation_reason VARCHAR,
        days DATERANGE GENERATED ALWAYS AS (daterange(valid_from, CASE WHEN valid_to IS NULL
            AND revoked_from IS NULL THEN NULL
                ELSE greatest(valid_from, least(valid_to + 1, revoked_from)) END)) STORED,
        source VARCHAR NOT NULL,
        source_id UUID NOT NULL,
        recorded_on DATE NOT NULL,
        recorded_at TIMESTAMP WITH TIME ZONE NOT NULL,
        superseded_on DATE,
        superseded_at TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (id),
        CONSTRAINT qualification_valid CHECK (valid_to >= valid_from),
        CONSTRAINT qualification_superseded CHECK ((superseded_on IS NULL) = (superseded_at IS NULL)),
        CONSTRAINT qualification_known CHECK (superseded_on >= recorded_on),
        CONSTRAINT qualification_revoked CHECK ((revoked_from IS NULL) = (revocation_reason IS NULL)),
        CONSTRAINT qualification_source CHECK (source IN ('import', 'nomination')),
        FOREIGN KEY(uscc) REFERENCES enterprise (uscc)
    )
    """,
    """
    CREATE INDEX qualification_begins ON qualification (lower(days)) WHERE superseded_on IS NULL
    """,
    """
    CREATE INDEX qualification_ends ON qualification (upper(days)) WHERE superseded_on IS NULL
    """,
    """
    CREATE INDEX qualification_of_enterprise ON qualification (uscc, recorded_on)
    """,
    """
    CREATE UNIQUE INDEX qualification_once ON qualification (uscc, category, document_no) WHERE
        superseded_on IS NULL
    """,
    """
    CREATE INDEX qualification_versions ON qualification (qualification_id)
    """,
    """
    CREATE TABLE registration (
        id UUID NOT NULL,
        uscc VARCHAR NOT NULL,
        name VARCHAR NOT NULL,
        contact VARCHAR NOT NULL,
        legal_representative VARCHAR NOT NULL,
        phone VARCHAR NOT NULL,
        registered_on DATE NOT NULL,
        PRIMARY KEY (id),
        UNIQUE (uscc),
        FOREIGN KEY(uscc) REFERENCES enterprise (uscc)
    )
    """,
)


def upgrade() -> None:
    for extension in ("pg_trgm", "btree_gist"):
        op.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
    for sequence in ("nomination_number", "admission_number"):
        op.execute(f"CREATE SEQUENCE {sequence}")
    for statement in TABLES:
        op.execute(statement)
