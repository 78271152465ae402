"""What lending does when others speak."""

from __future__ import annotations

from services.lending.borrower import remember_days, remember_registration
from services.lending.claim import claim_approved, claim_cancelled, compensation_paid
from services.lending.lender import (
    guarantor_closes,
    guarantor_opens,
    institution_closes,
    institution_opens,
)
from services.lending.roster_case import exit_reaches_back, list_reaches_back
from shared.events import (
    ClaimApproved,
    ClaimCancelled,
    CompensationPaid,
    EnterpriseDelisted,
    EnterpriseListed,
    EnterpriseRegistered,
    GuarantorAdmitted,
    GuarantorExited,
    InstitutionAdmitted,
    InstitutionDisqualified,
    InstitutionExited,
)
from shared.inbox import Reactions

REACTIONS: Reactions = {
    EnterpriseListed: (list_reaches_back,),
    EnterpriseDelisted: (list_reaches_back,),
    InstitutionExited: (exit_reaches_back,),
    InstitutionDisqualified: (exit_reaches_back,),
}
MEMORY = ("borrower", "lender", "guarantor", "claim")
REMEMBERS: Reactions = {
    EnterpriseListed: (remember_days,),
    EnterpriseDelisted: (remember_days,),
    EnterpriseRegistered: (remember_registration,),
    InstitutionAdmitted: (institution_opens,),
    InstitutionExited: (institution_closes,),
    InstitutionDisqualified: (institution_closes,),
    GuarantorAdmitted: (guarantor_opens,),
    GuarantorExited: (guarantor_closes,),
    ClaimApproved: (claim_approved,),
    ClaimCancelled: (claim_cancelled,),
    CompensationPaid: (compensation_paid,),
}
