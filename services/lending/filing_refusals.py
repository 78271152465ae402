"""Why a filing is refused: one kind for each condition (R-13, R-21, R-22, R-25)."""

from __future__ import annotations

from shared.problems import Refusal
from shared.rules import Text


class ContractNumberTaken(Refusal):
    """This contract number is filed already (R-25)."""

    title = Text("合同编号已备案", "Contract number filed already")


class DisbursementOutOfTime(Refusal):
    """Disbursed in the future, or before the measures were in force (R-25)."""

    title = Text("放款日期不符", "Disbursement out of time")


class ApprovalRunOut(Refusal):
    """The approval lapsed (R-21)."""

    title = Text("审批已失效", "Approval lapsed")


class MoreThanApproved(Refusal):
    """More than is left of the approval (R-25)."""

    title = Text("超过审批余额", "More than approved")


class NotListedAtDisbursement(Refusal):
    """Not on the support list on the disbursement date (R-25)."""

    title = Text("放款日不在名单内", "Not on the support list")


class GuarantorNotAccepted(Refusal):
    """A guarantor is missing, not wanted, or not active (R-25, R-13)."""

    title = Text("担保机构不符", "Guarantor not accepted")


class NotTheFirstLoan(Refusal):
    """The system knows an earlier loan (R-25)."""

    title = Text("不是首贷", "Not the first loan")


class ReferenceRateUnknown(Refusal):
    """The LPR of the day is not on record, or the tenor is not stated (R-22)."""

    title = Text("无法确定适用的LPR", "Reference rate unknown")


class RateAboveCap(Refusal):
    """Above the cap without a reason (R-22)."""

    title = Text("利率超过上限", "Rate above the cap")
