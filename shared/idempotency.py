"""`Idempotency-Key`: the answer of a command is kept with its effect, in the same transaction.

Same key and body → the stored answer; another body → 422; still running → 409. Keys belong to their
caller. Kept for as long as the effects are (the header's draft asks us to say so). Only successes are
kept: a refusal changed nothing, so sending again is harmless.
"""

from __future__ import annotations

import hashlib
import hmac
import re

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import Request
from starlette.responses import Response

from shared.identity import Principal
from shared.problems import KeyRequired, KeyReused, StillRunning
from shared.rules import Text

KEY = re.compile(r"[\x21-\x7e]{1,255}")


def key_of(request: Request, principal: Principal) -> str | None:
    """The request's key, quoted (RFC 8941 string) or bare; machine clients must send one."""
    sent = request.headers.get("idempotency-key")
    if sent is None:
        if principal.machine:
            raise KeyRequired(
                Text(
                    "接口调用须带请求头 Idempotency-Key（每笔业务一个，重发时不变）",
                    "Send an Idempotency-Key header: one per piece of business, the same on retries",
                )
            )
        return None
    key = sent[1:-1] if len(sent) >= 2 and sent[0] == sent[-1] == '"' else sent
    if not KEY.fullmatch(key):
        raise KeyRequired(
            Text(
                "Idempotency-Key 须为 1 至 255 个可见 ASCII 字符",
                "1 to 255 visible ASCII characters",
            )
        )
    return key


async def fingerprint(request: Request, secret: str) -> bytes:
    """What makes two requests the same: method, address and content (a form's parts, not its
    boundary). Keyed by a secret where requests hold passwords: a plain hash, kept for ever, of one could be
    guessed back. What else is personal stands in the same database in clear, and needs no key."""
    address = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    digest = hmac.new(secret.encode(), address, hashlib.sha256)
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        form = await request.form()
        for name, value in form.multi_items():
            digest.update(f"\n{name}\n".encode())
            if isinstance(value, str):
                digest.update(value.encode())
            else:
                while piece := await value.read(1 << 20):
                    digest.update(piece)
                await value.seek(0)
    else:
        digest.update(await request.body())
    return digest.digest()


LOOK = text(
    "SELECT one.locked, kept.* FROM (SELECT pg_try_advisory_xact_lock(hashtextextended(:lock, 0)) "
    "AS locked) one LEFT JOIN idempotency kept ON kept.caller = :caller AND kept.key = :key"
)


async def replay(
    session: AsyncSession, caller: str, key: str, operation: str, mark: bytes
) -> Response | None:
    """The stored answer of this key, or None when the command is to run now."""
    asked = {"lock": f"{caller}\n{key}", "caller": caller, "key": key}
    row = (await session.execute(LOOK, asked)).one()
    if row.key is not None:
        return _stored(row, operation, mark)
    if not row.locked:
        raise StillRunning(
            Text("同一幂等键的请求正在办理，请稍后重发", "A request with this key is running; retry later"),
            headers={"Retry-After": "1"},
        )
    return None


def _stored(row: Row[tuple[object, ...]], operation: str, mark: bytes) -> Response:
    if bytes(row.fingerprint) != mark or row.operation != operation:
        raise KeyReused(
            Text(
                "这个幂等键已用于内容不同的请求；新业务请用新键",
                "This key was used for another request; use a new key for new business",
            )
        )
    headers = {"Idempotent-Replayed": "true"}
    if row.location:
        headers["Location"] = row.location
    return Response(bytes(row.body), row.status, headers, row.media_type)


def keep(
    session: AsyncSession, caller: str, key: str, operation: str, mark: bytes, response: Response
) -> None:
    """Keep the answer with the effect: the closing statement writes it. A twin that committed first
    makes that fail, and the command runs anew."""
    session.info["kept"] = {
        "caller": caller,
        "idempotency_key": key,
        "operation": operation,
        "fingerprint": mark,
        "status": response.status_code,
        "location": response.headers.get("location"),
        "media_type": response.media_type or response.headers.get("content-type"),
        "body": bytes(response.body),
    }
