"""What compensation does when lending speaks: first it remembers, then the loan's claim follows."""

from __future__ import annotations

from services.compensation.cancellation import loan_settled, money_crossed, money_went_back
from services.compensation.covered_loan import (
    remember_correction,
    remember_cure,
    remember_filing,
    remember_position,
    remember_rate_decision,
    remember_report,
)
from services.compensation.recomputation import loan_cured, position_changed
from shared.events import (
    LoanCorrected,
    LoanFiled,
    LoanRenewed,
    LoanSettled,
    OverdueCured,
    OverdueDetected,
    RateExceptionDecided,
    RepaymentOverdue,
    RepaymentRecorded,
    RepaymentReversed,
)
from shared.inbox import Reactions

MEMORY = ("covered_loan", "overdue_report")
REMEMBERS: Reactions = {
    LoanFiled: (remember_filing,),
    RateExceptionDecided: (remember_rate_decision,),
    LoanRenewed: (remember_position,),
    RepaymentRecorded: (remember_position,),
    RepaymentReversed: (remember_position,),
    LoanCorrected: (remember_correction,),
    OverdueDetected: (remember_position,),
    RepaymentOverdue: (remember_report,),
    OverdueCured: (remember_cure,),
    LoanSettled: (remember_position,),
}
REACTIONS: Reactions = {
    RepaymentRecorded: (position_changed, money_crossed),
    RepaymentReversed: (position_changed, money_went_back),
    LoanCorrected: (position_changed,),
    LoanRenewed: (position_changed,),
    OverdueCured: (loan_cured,),
    LoanSettled: (loan_cured, loan_settled),
}
