"""`make demo`: one loan's whole journey, told through the gateway's interface by everybody who takes part.

What was sent, what came back, which rule decided, the amounts; the sandbox's clock moves the days. It may
be told again and again: every telling has an enterprise of its own.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, TextIO
from uuid import uuid4

import httpx

from services.demo_data import MEMBERS, PASSWORD, bank_id
from shared.rules import Text
from shared.uscc import check_character

SHOWN = 88


class WentWrong(Exception):
    """An answer the story does not expect."""


def uscc(number: int) -> str:
    """A unified social credit code with a true check character (GB 32100-2015)."""
    body = f"91330482{number:09d}"
    return body + check_character(body)


@dataclass
class Teller:
    """Speaks for everybody in turn, and tells what happens."""

    client: httpx.AsyncClient
    language: str
    out: TextIO
    tokens: dict[str, str] = field(default_factory=dict)
    chapters: int = 0

    def say(self, zh: str, en: str, indent: str = "    ") -> None:
        text = Text(zh, en)
        for language in ("zh", "en"):
            if self.language in (language, "both"):
                print(indent + text.say("zh" if language == "zh" else "en"), file=self.out)

    def chapter(self, zh: str, en: str) -> None:
        self.chapters += 1
        print(file=self.out)
        self.say(f"{self.chapters}. {zh}", f"{self.chapters}. {en}", "")

    async def sign_in(self, name: str, password: str = PASSWORD) -> None:
        answer = await self.client.post("/v1/session", json={"name": name, "password": password})
        if answer.status_code != 201:
            raise WentWrong(f"{name} cannot sign in: {answer.text}")
        self.tokens[name] = answer.json()["access_token"]

    async def send(
        self, who: str | None, method: str, path: str, body: Any = None, *, expect: int = 0, **more: Any
    ) -> Any:
        """One request as somebody, told; the answer's JSON. `expect` names a refusal that is meant."""
        headers = {"accept-language": "en" if self.language == "en" else "zh"}
        if who is not None:
            if who not in self.tokens:
                await self.sign_in(who)
            headers["authorization"] = f"Bearer {self.tokens[who]}"
        if method != "GET":
            headers["idempotency-key"] = str(uuid4())
        answer = await self.client.request(method, path, json=body, headers=headers, **more)
        print(f"    {who or '—':<10} {method} {path}", file=self.out)
        if body is not None:
            print(f"               → {_brief(body)}", file=self.out)
        wrong = answer.status_code != expect if expect else answer.status_code >= 300
        if wrong:
            raise WentWrong(f"{method} {path}: {answer.status_code} {answer.text}")
        found = answer.json()
        if expect:
            rule = f"{found.get('rule', '')} {found.get('article', '')}".strip()
            print(
                f"               ← {answer.status_code} {found['title']} [{rule}] {found['detail']}",
                file=self.out,
            )
        return found

    async def until(self, what: str, path: str, who: str, ready: Any) -> Any:
        """Look again until `ready(answer)`: facts of one service reach the others a moment later."""
        for _ in range(200):
            headers = {"authorization": f"Bearer {self.tokens[who]}"}
            answer = await self.client.get(path, headers=headers)
            if answer.status_code == 200 and ready(answer.json()):
                return answer.json()
            await asyncio.sleep(0.05)
        raise WentWrong(f"{what} did not come about: {answer.text}")

    async def move_to(self, day: date) -> None:
        await self.send("office", "PUT", "/v1/sandbox/clock", {"today": day.isoformat()})


def _brief(body: Any) -> str:
    said = (
        ", ".join(f"{name}={value}" for name, value in body.items()) if isinstance(body, dict) else str(body)
    )
    return said if len(said) <= SHOWN else said[: SHOWN - 1] + "…"


@dataclass
class Case:
    """The enterprise and the loan of this telling."""

    today: date
    uscc: str
    name: str
    account: str
    loan: str = ""
    due: date = date.min
    claim: str = ""


async def tell(url: str, language: str = "both", *, out: TextIO = sys.stdout) -> int:
    """Tell the journey against the running system at `url`; the exit status."""
    try:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            await story(Teller(client, language, out))
    except httpx.TransportError:
        print(
            f"{url} 没有应答：请先在另一终端 make run / does not answer: start `make run` first",
            file=sys.stderr,
        )
        return 1
    except WentWrong as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


async def story(teller: Teller) -> None:
    """The journey, from a recognition list to a shared recovery."""
    await teller.sign_in("office")
    clock = await teller.send("office", "GET", "/v1/sandbox/clock")
    today = date.fromisoformat(clock["today"])
    number = uuid4().int % 10**8
    case = Case(today, uscc(number), f"平湖星联智能科技{number:08d}号", f"qy-{number:08d}")
    teller.say(
        f"业务日期 {today}。主角：{case.name}（{case.uscc}）。",
        f"The business date is {today}. The enterprise of this story: {case.name} ({case.uscc}).",
    )
    for part in (listed, registered, lent, overdue, too_early, claimed, decided, paid, recovered, accounted):
        await part(teller, case)
    print(file=teller.out)
    teller.say("全程结束。", "That was the whole journey.", "")


async def listed(teller: Teller, case: Case) -> None:
    teller.chapter(
        "办公室导入认定名单：谁在名单上由认定文件决定，没有人能手工添加（R-03、R-06）。",
        "The office imports a recognition list: documents decide who is on the support list (R-03, R-06).",
    )
    wrong = case.uscc[:-1] + ("0" if case.uscc[-1] != "0" else "1")
    rows = f"统一社会信用代码,企业名称\n{case.uscc},{case.name}\n{wrong},校验码写错的企业\n"
    form = {
        "kind": "qualification",
        "category": "national_high_tech",
        "document_no": f"国科发火〔{case.today.year}〕{case.account[3:]}号",
        "issued_on": (case.today - timedelta(days=30)).isoformat(),
        "valid_from": (case.today - timedelta(days=30)).isoformat(),
        "valid_to": (case.today + timedelta(days=1095)).isoformat(),
    }
    files = {"file": ("名单.csv", rows.encode("utf-8-sig"), "text/csv")}
    taken = await teller.send("office", "POST", "/v1/imports", data=form, files=files)
    done = await teller.until(
        "the import", f"/v1/imports/{taken['id']}", "office", lambda it: it["state"] in ("done", "refused")
    )
    teller.say(
        f"新增 {done['added']} 家，退回 {done['refused']} 行（校验码不对，可下载改正后再导入）。",
        f"{done['added']} added, {done['refused']} row refused (its check character is wrong; to be mended).",
    )


async def registered(teller: Teller, case: Case) -> None:
    teller.chapter("企业注册并设立账户（R-08）。", "The enterprise registers and sets up its account (R-08).")
    about = {
        "uscc": case.uscc,
        "contact": "李会计",
        "legal_representative": "陈某某",
        "phone": "0573-85012345",
    }
    answer = await teller.send(None, "POST", "/v1/registrations", about)
    chosen = {"code": answer["activation_code"], "name": case.account, "password": PASSWORD}
    await teller.send(None, "POST", "/v1/accounts/activation", chosen)
    await teller.sign_in(case.account)


async def lent(teller: Teller, case: Case) -> None:
    teller.chapter(
        "企业申请，银行审批、放款并备案（R-20 至 R-25）。",
        "The enterprise applies; the bank approves, lends and files (R-20 to R-25).",
    )
    quote = {"published_on": case.today.isoformat(), "one_year": "3.0000", "five_year": "3.5000"}
    await teller.send("office", "PUT", "/v1/reference-rates", quote)
    guarantors = await teller.send("office", "GET", "/v1/guarantors")
    terms = {"amount": "3000000.00", "term_months": 3, "security_type": "guarantee"}
    asked = {**terms, "institution_id": str(bank_id("bank-a")), "purpose": "采购研发设备"}
    application = await teller.send(case.account, "POST", "/v1/applications", asked)
    await teller.send(
        "bank-a", "POST", f"/v1/applications/{application['id']}/approval", {**terms, "annual_rate": "3.8500"}
    )
    filing = {
        "application_id": application["id"],
        "contract_number": f"JK-{case.today.year}-{case.account[3:]}",
        "amount": "3000000.00",
        "annual_rate": "4.0000",
        "disbursed_on": case.today.isoformat(),
        "matures_on": _months_on(case.today, 3).isoformat(),
        "security_type": "guarantee",
        "guarantor_id": guarantors["items"][0]["id"],
        "repayment_method": "bullet_interest_monthly",
        "first_loan": True,
    }
    teller.say(
        "保证贷款利率上限为LPR加90基点：3.00%+0.90%=3.90%；4.00%没有说明理由，退回。",
        "A guarantee loan is capped at LPR plus 90 basis points, 3.90 %; 4.00 % without a reason is refused.",
    )
    await teller.send("bank-a", "POST", "/v1/loans", filing, expect=409)
    loan = await teller.send("bank-a", "POST", "/v1/loans", filing | {"annual_rate": "3.8500"})
    case.loan = loan["id"]
    plan = await teller.send("bank-a", "GET", f"/v1/loans/{case.loan}/schedule")
    dues = plan["dues"]
    case.due = date.fromisoformat(dues[0]["due_on"])
    teller.say(
        f"已备案 {loan['number']}；首期 {case.due} 应付利息 {dues[0]['interest']}。",
        f"Filed as {loan['number']}; the first interest, {dues[0]['interest']}, is due on {case.due}.",
    )


def _months_on(day: date, months: int) -> date:
    later = day.replace(day=1) + timedelta(days=31 * months)
    return later.replace(day=min(day.day, 28))


async def overdue(teller: Teller, case: Case) -> None:
    teller.chapter(
        "到期未付。系统次日发现逾期，银行在5个工作日内报告（R-30、R-31）。",
        "Nothing is paid. The system finds it the next day; the bank reports within 5 working days.",
    )
    await teller.move_to(case.due + timedelta(days=1))
    report = {"cause": "主要客户回款延迟", "action": "已上门催收，协商还款计划"}
    told = await teller.send("bank-a", "POST", f"/v1/loans/{case.loan}/overdue-reports", report)
    for warning in told["warnings"]:
        teller.say(warning, warning)
    teller.say(
        f"报告期限 {told['report_deadline']}，{'按时' if told['on_time'] else '逾期报告'}。",
        f"The deadline is {told['report_deadline']}: {'on time' if told['on_time'] else 'late'}.",
    )


async def too_early(teller: Teller, case: Case) -> None:
    teller.chapter(
        "逾期满90日才能申请代偿（R-40）；系统随时告诉银行差什么（R-34）。",
        "A claim is possible after 90 days (R-40); readiness is told at any time (R-34).",
    )
    path = f"/v1/loans/{case.loan}/claim-readiness"
    await teller.until("the report", path, "bank-a", lambda it: _met(it, "R-31"))
    ready = await teller.send("bank-a", "GET", path)
    for condition in ready["conditions"]:
        mark = "✓" if condition["met"] else "✗"
        print(f"               {mark} {condition['rule']} {condition['reason']}", file=teller.out)
    stated = {"loan_id": case.loan, "principal": ready["principal"], "interest": ready["interest"]}
    await teller.send("bank-a", "POST", "/v1/claims", stated, expect=409)


def _met(readiness: Any, rule: str) -> bool:
    return any(condition["met"] for condition in readiness["conditions"] if condition["rule"] == rule)


async def claimed(teller: Teller, case: Case) -> None:
    teller.chapter(
        "第91天：银行申请代偿。罚息、复利从不计入，多报即退回并给出应报数（R-41）。",
        "Day 91: the bank claims. Penalty and compound interest never count; too much is refused (R-41).",
    )
    await teller.move_to(case.due + timedelta(days=91))
    ready = await teller.send("bank-a", "GET", f"/v1/loans/{case.loan}/claim-readiness")
    stated = {"loan_id": case.loan, "principal": ready["principal"], "interest": "99999.99"}
    await teller.send("bank-a", "POST", "/v1/claims", stated, expect=409)
    claim = await teller.send("bank-a", "POST", "/v1/claims", stated | {"interest": ready["interest"]})
    case.claim = claim["id"]
    teller.say(
        f"{claim['number']}：本金 {claim['principal']}，利息 {claim['interest']}。",
        f"{claim['number']}: principal {claim['principal']}, interest {claim['interest']}.",
    )


async def decided(teller: Teller, case: Case) -> None:
    teller.chapter(
        "联席会议七个单位各投一票，全部同意即通过（R-07、R-45）；按4∶4∶2分担（R-42）。",
        "The seven units vote; all approve (R-07, R-45). The loss is shared 4:4:2 (R-42).",
    )
    for unit in MEMBERS:
        await teller.send(unit, "POST", f"/v1/claims/{case.claim}/ballots", {"choice": "approve"})
    claim = await teller.send("office", "GET", f"/v1/claims/{case.claim}")
    split = claim["split"]
    teller.say(
        f"损失 {claim['total']} = 风险补偿金 {split['fund']} + 担保机构 {split['guarantor']} "
        f"+ 银行 {split['institution']}。",
        f"The loss of {claim['total']} = fund {split['fund']} + guarantor {split['guarantor']} "
        f"+ bank {split['institution']}.",
    )


async def paid(teller: Teller, case: Case) -> None:
    teller.chapter(
        "财政与担保机构各付其份（R-47）；企业3年内不得申请科技项目（R-50）。",
        "Fund and guarantor pay (R-47); the enterprise is barred from projects for three years (R-50).",
    )
    day = (case.due + timedelta(days=91)).isoformat()
    path = f"/v1/claims/{case.claim}/payments"
    await teller.send("czj", "POST", path, {"paid_on": day, "voucher": "支付令0312"})
    await teller.send("guarantor", "POST", path, {"paid_on": day, "voucher": "电汇0077"})
    await teller.send("czj", "POST", path, {"paid_on": day, "voucher": "支付令0313"}, expect=409)
    barred = await teller.until(
        "the bar",
        f"/v1/project-eligibility/{case.uscc}",
        "office",
        lambda it: not it["eligible"] and it["barred_until"],
    )
    teller.say(
        f"项目资格：否，至 {barred['barred_until']}。", f"Eligible: no, until {barred['barred_until']}."
    )


async def recovered(teller: Teller, case: Case) -> None:
    teller.chapter(
        "银行追回款项，扣除费用后按比例返还（R-60）。",
        "The bank recovers money; net of costs it is shared in the same ratio (R-60).",
    )
    await teller.move_to(case.due + timedelta(days=120))
    day = (case.due + timedelta(days=120)).isoformat()
    money = {
        "gross": "520000.00",
        "costs": "20000.01",
        "received_on": day,
        "voucher": "（2026）浙0482执123号",
    }
    recovery = await teller.send("bank-a", "POST", f"/v1/claims/{case.claim}/recoveries", money)
    teller.say(
        f"净额 {recovery['net']} = 风险补偿金 {recovery['fund']} + 担保机构 {recovery['guarantor']} "
        f"+ 银行 {recovery['institution']}。",
        f"Net {recovery['net']} = fund {recovery['fund']} + guarantor {recovery['guarantor']} "
        f"+ bank {recovery['institution']}.",
    )
    receipts = f"/v1/recoveries/{recovery['id']}/receipts"
    for who in ("czj", "guarantor"):
        await teller.send(who, "POST", receipts, {"received_on": day, "voucher": "进账单0612"})


async def accounted(teller: Teller, case: Case) -> None:
    teller.chapter(
        "风险补偿金的账：每一笔都是借贷平衡的分录（R-48）。",
        "The fund's ledger: every movement a balanced double entry (R-48).",
    )
    fund = await teller.send("czj", "GET", "/v1/fund")
    teller.say(
        f"拨入 {fund['appropriated']} + 追回 {fund['recovered']} = 可用 {fund['available']} "
        f"+ 预留 {fund['reserved']} + 已付 {fund['paid']}。",
        f"appropriated {fund['appropriated']} + recovered {fund['recovered']} = "
        f"available {fund['available']} + reserved {fund['reserved']} + paid {fund['paid']}.",
    )
