"""States and moves as data: the only way a case changes its state."""

from __future__ import annotations

from collections.abc import Mapping

from shared.problems import IllegalMove
from shared.rules import Text

STATES_ZH = {
    "active": "正常",
    "applied": "已申请",
    "approved": "已通过",
    "cancelled": "已撤销",
    "declined": "已否决",
    "disqualified": "已取消资格",
    "exception_pending": "利率例外待定",
    "exception_refused": "利率例外未获同意",
    "exited": "已退出",
    "filed": "已备案",
    "kept": "维持",
    "lapsed": "已失效",
    "leaving": "即将退出",
    "meeting": "待会议决定",
    "not_covered": "不予覆盖",
    "open": "待决定",
    "overdue": "逾期",
    "paid": "已代偿",
    "rejected": "已拒绝",
    "renewed": "已续贷",
    "returned": "已退回",
    "settled": "已结清",
    "submitted": "已提交",
    "voting": "表决中",
    "withdrawn": "已撤回",
    "written_off": "已核销",
}
MOVES_ZH = {
    "accept_rate": "同意利率例外",
    "admit": "准入",
    "announce_exit": "宣布退出",
    "approve": "通过",
    "call_meeting": "提交会议",
    "call_off_meeting": "不再开会",
    "cancel": "撤销",
    "cast_ballot": "投票",
    "cure": "还清逾期",
    "decline": "否决",
    "disqualify": "取消资格",
    "exclude": "不予覆盖",
    "exit": "退出",
    "fall_overdue": "转为逾期",
    "file": "备案",
    "file_last": "末笔备案",
    "keep": "维持",
    "lapse": "失效",
    "pay": "支付代偿款",
    "recompute": "重新计算",
    "record_meeting": "登记会议结果",
    "record_meeting_declined": "登记会议否决",
    "record_repayment": "登记还款",
    "refuse_rate": "不同意利率例外",
    "reject": "拒绝",
    "renew": "续贷",
    "renew_in_part": "部分续贷",
    "reopen": "重新打开",
    "report_overdue": "报告逾期",
    "resubmit": "重新提交",
    "return": "退回",
    "settle": "结清",
    "vote": "投票",
    "withdraw": "撤回",
    "write_off": "核销",
}
"""What the API's words for states and moves are called in Chinese refusals."""


class Moves:
    """`{(state, move): new state}`; any other move is refused with the moves that are allowed."""

    def __init__(self, table: Mapping[tuple[str, str], str]) -> None:
        self.table = dict(table)

    @property
    def states(self) -> set[str]:
        return {state for state, _ in self.table} | set(self.table.values())

    def allowed(self, state: str) -> list[str]:
        return sorted(move for known, move in self.table if known == state)

    def after(self, state: str, move: str, *, rule: str | None = None) -> str:
        """The state this move leads to; IllegalMove (409) when it is not allowed now."""
        new = self.table.get((state, move))
        if new is None:
            allowed = self.allowed(state)
            named = "、".join(MOVES_ZH.get(one, one) for one in allowed)
            raise IllegalMove(
                Text(
                    f"当前状态“{STATES_ZH.get(state, state)}”不能“{MOVES_ZH.get(move, move)}”；"
                    f"可以：{named or '无'}",
                    f"not possible: {move} in state {state}; possible: {', '.join(allowed) or 'none'}",
                ),
                rule=rule,
                state=state,
                moves=allowed,
            )
        return new
