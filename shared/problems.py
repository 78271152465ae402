"""Refusals: typed exceptions that one handler renders as RFC 9457 problem details, in two languages.

A refusal says what did not happen, which rule and article decided so, and how to mend it. Nothing
has changed when one is raised: the transaction around the command is rolled back.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NoReturn, TypedDict

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from shared.rules import Language, Text, Verdict

MEDIA_TYPE = "application/problem+json"
NOT_IN_ENCODING = "22021"
"""SQLSTATE of a character the database's encoding has no place for."""
log = logging.getLogger("kechuang.problems")


class FieldError(TypedDict, total=False):
    """One wrong member of the request: JSON Pointer (RFC 6901), what is wrong (a sentence in both
    languages, or signs that need none), and its rule."""

    pointer: str
    detail: str | Text
    rule: str


class Refusal(Exception):
    """A command or question that is refused; subclasses read as sentences (`CeilingExceeded`).

    `facts` become extension members of the problem (computed figures, first possible dates).
    """

    status: ClassVar[int] = 409
    title: ClassVar[Text] = Text("不能办理", "Refused")
    rule: str | None = None
    article: str | None = None

    def __init__(
        self,
        detail: Text,
        *,
        rule: str | None = None,
        article: str | None = None,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(detail.en)
        self.detail = detail
        self.rule = rule or type(self).rule
        self.article = article or type(self).article
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.facts = facts

    @classmethod
    def slug(cls) -> str:
        """The stable name of this kind of refusal: `CeilingExceeded` → `ceiling-exceeded`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    def body(self, language: Language, instance: str) -> dict[str, Any]:
        """The problem document (RFC 9457 §3) in one language."""
        members: dict[str, Any] = {
            "type": f"/problems/{self.slug()}",
            "title": type(self).title.say(language),
            "status": self.status,
            "detail": self.detail.say(language),
            "instance": instance,
            "rule": self.rule,
            "article": self.article,
            "errors": [_said(error, language) for error in self.errors] or None,
        } | self.facts
        return {name: value for name, value in members.items() if value is not None}


def _said(error: FieldError, language: Language) -> dict[str, Any]:
    detail = error["detail"]
    return {**error, "detail": detail.say(language) if isinstance(detail, Text) else detail}


class Unauthenticated(Refusal):
    status = 401
    title = Text("未登录或凭证失效", "Not authenticated")


class Forbidden(Refusal):
    status = 403
    title = Text("无权办理", "Not permitted")


class NotFound(Refusal):
    """Also the answer for another party's case: nobody learns whether it exists."""

    status = 404
    title = Text("未找到", "Not found")


class Conflict(Refusal):
    title = Text("与他人同时修改", "Changed by another at the same time")


class IllegalMove(Refusal):
    title = Text("当前状态不能这样办理", "Not possible in this state")


class KeyRequired(Refusal):
    status = 400
    title = Text("缺少幂等键", "Idempotency-Key required")


class KeyReused(Refusal):
    status = 422
    title = Text("幂等键已用于另一请求", "Idempotency-Key used for another request")


class StillRunning(Refusal):
    title = Text("同一请求正在办理", "The same request is still running")


class InvalidInput(Refusal):
    status = 422
    title = Text("填写有误", "Invalid input")


class PreconditionFailed(Refusal):
    status = 412
    title = Text("资料已被他人更新", "The resource has changed")


class TooLarge(Refusal):
    status = 413
    title = Text("内容过大", "Too large")


class Unavailable(Refusal):
    status = 503
    title = Text("暂时不能服务", "Temporarily unavailable")


def uphold(verdict: Verdict, refusal: type[Refusal], **facts: Any) -> None:
    """Go on when the verdict allows; otherwise raise `refusal` with the verdict's rule and reason."""
    if not verdict.allowed:
        raise refusal(verdict.reason, rule=verdict.rule, article=verdict.article, **facts)


def not_found(zh: str, en: str) -> NoReturn:
    raise NotFound(Text(f"未找到{zh}", f"No such {en}"))


def language_of(request: Request) -> Language:
    """`zh` or `en` by Accept-Language (RFC 9110 §12.5.4); Chinese when nothing is said."""
    best, best_quality = "zh", 0.0
    for part in request.headers.get("accept-language", "").split(","):
        tag, _, parameters = part.strip().partition(";")
        name, _, quality = parameters.strip().partition("=")
        try:
            weight = float(quality) if name.strip() == "q" else 1.0
        except ValueError:
            continue
        primary = tag.strip().split("-")[0].lower()
        if primary in ("zh", "en") and weight > best_quality:
            best, best_quality = primary, weight
    return "en" if best == "en" else "zh"


def render(request: Request, refusal: Refusal) -> Response:
    language = language_of(request)
    return JSONResponse(
        refusal.body(language, request.url.path),
        refusal.status,
        {"Content-Language": language, **refusal.headers},
        MEDIA_TYPE,
    )


def pointer(location: Sequence[str | int]) -> str:
    """A JSON Pointer fragment for a pydantic error location, without FastAPI's leading `body`."""
    kind, *rest = location or ("body",)
    parts = rest if kind in ("body", "query", "path", "header") else list(location)
    return "#" + "".join(f"/{str(p).replace('~', '~0').replace('/', '~1')}" for p in parts)


WORDS: dict[str, Text] = {
    "missing": Text("必填", "is required"),
    "extra_forbidden": Text("没有这一项", "is not a known member"),
    "string_type": Text("应为文字", "must be a string"),
    "json_invalid": Text("不是有效的 JSON", "is not valid JSON"),
    "date_from_datetime_parsing": Text("应为日期 YYYY-MM-DD", "must be a date YYYY-MM-DD"),
    "date_parsing": Text("应为日期 YYYY-MM-DD", "must be a date YYYY-MM-DD"),
    "uuid_parsing": Text("应为 UUID", "must be a UUID"),
    "date_type": Text("应为日期 YYYY-MM-DD", "must be a date YYYY-MM-DD"),
    "date_from_datetime_inexact": Text("应为日期 YYYY-MM-DD", "must be a date YYYY-MM-DD"),
    "uuid_type": Text("应为 UUID", "must be a UUID"),
    "bool_type": Text("应为 true 或 false", "must be true or false"),
    "bool_parsing": Text("应为 true 或 false", "must be true or false"),
    "int_type": Text("应为整数", "must be a whole number"),
    "int_parsing": Text("应为整数", "must be a whole number"),
    "int_from_float": Text("应为整数", "must be a whole number"),
    "list_type": Text("应为列表", "must be a list"),
    "dict_type": Text("应为对象", "must be an object"),
    "model_attributes_type": Text("应为对象", "must be an object"),
    "string_too_short": Text(
        "至少 {min_length} 个字（首尾空格不计）", "must have {min_length} or more characters"
    ),
    "string_too_long": Text("最多 {max_length} 个字", "must have at most {max_length} characters"),
    "string_pattern_mismatch": Text("格式不符，应为 {pattern}", "must look like {pattern}"),
    "too_short": Text("至少 {min_length} 项", "must have {min_length} or more items"),
    "too_long": Text("最多 {max_length} 项", "must have at most {max_length} items"),
    "greater_than_equal": Text("应不小于 {ge}", "must be {ge} or more"),
    "less_than_equal": Text("应不大于 {le}", "must be {le} or less"),
    "enum": Text("不在可选值之内", "is not one of the allowed values"),
    "literal_error": Text("不在可选值之内", "is not one of the allowed values"),
}
"""What is wrong, by pydantic's kind of error; the braces are of its context."""


def explain(errors: Sequence[Any], language: Language) -> list[FieldError]:
    """pydantic's errors without the caller's own input, which may hold personal data."""
    told: list[FieldError] = []
    for error in errors:
        words = WORDS.get(error["type"])
        detail = words.say(language).format(**error.get("ctx") or {}) if words else str(error["msg"])
        if error["type"].startswith(("money_", "rate_", "uscc")):  # said in both languages
            detail = detail.split("; ")[0 if language == "zh" else -1]
        expected = (error.get("ctx") or {}).get("expected")
        if expected and words:
            detail += f"：{expected}" if language == "zh" else f": {expected}"
        told.append({"pointer": pointer(error["loc"]), "detail": detail})
    return told


HTTP_TITLES = {
    404: Text("没有这个地址", "No such address"),
    405: Text("这个地址不支持该方法", "Method not allowed here"),
}


def database_away(error: DBAPIError) -> Unavailable | None:
    """The answer when the database cannot be reached or was stopped in the middle (then whether a commit
    took effect is open, which only the key tells); else None."""
    state = str(getattr(error.orig, "sqlstate", "") or "")
    if not error.connection_invalidated and state[:2] not in ("08", "57"):
        return None
    words = Text(
        "数据库暂不可用，请稍后用同一幂等键重发",
        "The database is away; send again in a moment, with the same key",
    )
    return Unavailable(words, headers={"Retry-After": "2"})


async def _of_database(request: Request, error: Exception) -> Response:
    """PostgreSQL keeps every character but NUL, which has no place in a request either. And it may
    have been restarted in the middle."""
    assert isinstance(error, DBAPIError)
    if away := database_away(error):
        return render(request, away)
    if getattr(error.orig, "sqlstate", None) != NOT_IN_ENCODING:
        raise error
    what = Text("文字中含有空字符（U+0000），请删去后重发", "The text holds a NUL character: remove it")
    return render(request, InvalidInput(what))


async def _all_in_use(request: Request, _error: Exception) -> Response:
    """No connection of ours came free in time: the command was not begun, or is rolled back."""
    words = Text("系统繁忙，未作任何更改，请稍后重发", "Too busy; nothing changed; send again in a moment")
    return render(request, Unavailable(words, headers={"Retry-After": "2"}))


def install(app: FastAPI) -> None:
    """Make every failure of the app a problem document; FastAPI's own 422 echoes input: replaced."""

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return render(request, error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        told = explain(error.errors(), language_of(request))
        what = Text("请求内容不符合要求，请按所列各处改正后重发", "Mend the listed members and send again")
        return render(request, InvalidInput(what, errors=told))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        title = HTTP_TITLES.get(error.status_code, Text("请求不能处理", "Request not handled"))
        body = {
            "type": "about:blank",
            "title": title.say(language_of(request)),
            "status": error.status_code,
            "instance": request.url.path,
        }
        return JSONResponse(body, error.status_code, error.headers, MEDIA_TYPE)

    async def broken(request: Request, error: Exception) -> Response:
        log.error("unhandled error at %s", request.url.path, exc_info=error)
        words = Text(
            "系统内部错误，未作任何更改，请稍后重试",
            "Internal error; nothing changed; try again later",
        )
        refusal = InternalError(words)
        return render(request, refusal)

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(DBAPIError, _of_database)
    app.add_exception_handler(PoolTimeout, _all_in_use)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, broken)


class InternalError(Refusal):
    status = 500
    title = Text("系统内部错误", "Internal error")


PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem details; `rule` and `article` name what decided.",
    "required": ["type", "title", "status", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "rule": {"type": "string", "examples": ["R-24"]},
        "article": {"type": "string", "examples": ["M-四(二)"]},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {"type": "string"},
                    "detail": {"type": "string"},
                    "rule": {"type": "string"},
                },
            },
        },
    },
}


def refusals(*kinds: type[Refusal]) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a route: which refusals it may answer with, besides the common ones."""
    by_status: dict[int | str, dict[str, Any]] = {}
    every: tuple[type[Refusal], ...] = (*kinds, Unauthenticated, Forbidden, InvalidInput)
    for kind in every:
        entry = by_status.setdefault(
            kind.status,
            {
                "description": "",
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        )
        words = f"{kind.title.en} ({kind.title.zh})"
        if words not in entry["description"]:
            entry["description"] = "; ".join(filter(None, [entry["description"], words]))
    return by_status
