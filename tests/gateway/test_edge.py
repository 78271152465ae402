"""Every request passes the edge: its way, its id and trace, its limits, its headers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import httpx
import pytest

from services.gateway import edge
from services.gateway.edge import LIMIT_BYTES, SMALL_LIMIT_BYTES
from services.gateway.surface import Surface
from services.gateway.upstreams import InProcess, Upstream
from shared.tracing import TRACEPARENT
from tests.gateway.gate import Gate, gate, made_up_service
from tests.ground import Databases, eventually

OUR_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
}


async def test_requests_go_to_the_service_that_serves_the_path_with_the_token_untouched(
    unchanged: Gate,
) -> None:
    answer = await unchanged.client("a.b.c").get("/v1/lending/L-2026-000001?q=%E8%B4%B7")
    assert answer.status_code == 200
    seen = answer.json()
    assert (seen["thing"], seen["q"], seen["path"]) == ("L-2026-000001", "贷", "/v1/lending/L-2026-000001")
    assert seen["headers"]["authorization"] == "Bearer a.b.c"
    made = await unchanged.client().post("/v1/roster", json={"name": "平湖"})
    assert (made.status_code, made.headers["location"]) == (201, "/v1/roster/1")
    assert made.json()["body"] == {"name": "平湖"}


async def test_a_named_segment_goes_before_a_parameter(unchanged: Gate) -> None:
    assert (await unchanged.client().get("/v1/roster/named")).json() == "named"


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/lending/7/", "/v1/lending/", "//v1/lending/7", "/v2"])
@pytest.mark.parametrize(("language", "title"), [("zh", "没有这个地址"), ("en", "No such address")])
async def test_an_unknown_path_is_a_problem(unchanged: Gate, path: str, language: str, title: str) -> None:
    answer = await unchanged.client(language=language).get(f"http://kechuang.test{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == title


@pytest.mark.parametrize(
    ("language", "title"), [("zh", "这个地址不支持该方法"), ("en", "Method not allowed here")]
)
async def test_a_wrong_method_is_a_problem_that_names_the_right_ones(
    unchanged: Gate, language: str, title: str
) -> None:
    for path, allowed in (("/v1/lending", "POST"), ("/v1/lending/7", "GET"), ("/v1/session", "POST")):
        answer = await unchanged.client(language=language).delete(path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == allowed
        assert answer.json()["title"] == title


async def pieces(total: int) -> AsyncIterator[bytes]:
    for _ in range(total // 65_536):
        yield bytes(65_536)


@pytest.mark.parametrize(("path", "method"), [("/v1/lending/upload", "PUT"), ("/v1/lending", "POST")])
@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize(("language", "title"), [("zh", "内容过大"), ("en", "Too large")])
async def test_a_body_over_the_limit_is_a_problem_whether_or_not_it_is_announced(
    unchanged: Gate,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    method: str,
    announced: bool,
    language: str,
    title: str,
) -> None:
    monkeypatch.setattr(edge, "LIMIT_BYTES", 4 * 65_536)
    client = unchanged.client("a.b.c", language=language)
    headers = {"content-type": "application/json"}
    much: Any = bytes(5 * 65_536) if announced else pieces(5 * 65_536)
    answer = await client.request(method, path, content=much, headers=headers)
    assert answer.status_code == 413
    assert answer.json()["title"] == title
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/v1/session", "/v1/lending"])
async def test_the_gateway_itself_takes_little_and_so_does_any_service_of_a_stranger(
    unchanged: Gate, path: str
) -> None:
    for much in (bytes(SMALL_LIMIT_BYTES + 1), pieces(2 * 65_536)):
        answer = await unchanged.client().post(path, content=much)
        assert answer.status_code == 413


async def test_a_body_up_to_the_limit_passes_whole(unchanged: Gate) -> None:
    sent = bytes(range(256)) * (LIMIT_BYTES // 256)
    answer = await unchanged.client("a.b.c").put("/v1/lending/upload", content=sent)
    assert answer.status_code == 200
    assert sha256(answer.content).digest() == sha256(sent).digest()


@pytest.mark.parametrize(
    "path", ["/v1/lending/7", "/v1/me", "/nowhere", "/healthz", "/docs", "/v1/lending/broken"]
)
async def test_every_answer_has_the_headers_that_protect(unchanged: Gate, path: str) -> None:
    answer = await unchanged.client().get(path)
    assert {name: answer.headers[name] for name in OUR_HEADERS} == OUR_HEADERS
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == ("no-cache" if path == "/docs" else "no-store")
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert "strict-transport-security" not in answer.headers


async def test_over_https_browsers_are_told_to_stay_there(unchanged: Gate) -> None:
    answer = await unchanged.client().get("https://kechuang.test/v1/lending/7")
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


async def test_a_sane_request_id_is_kept_and_any_other_replaced(unchanged: Gate) -> None:
    kept = await unchanged.client().get("/v1/lending/7", headers={"x-request-id": "icbc-20260302-0001"})
    assert kept.headers["x-request-id"] == kept.json()["headers"]["x-request-id"] == "icbc-20260302-0001"
    for bad in ("short", "x" * 101, "with space", "semi;colon", "<script>alert</script>"):
        answer = await unchanged.client().get("/v1/lending/7", headers={"x-request-id": bad})
        assert answer.headers["x-request-id"] == answer.json()["headers"]["x-request-id"]
        assert answer.headers["x-request-id"] != bad
    ids = {(await unchanged.client().get("/v1/lending/7")).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


async def test_a_valid_trace_goes_on_and_any_other_begins_anew(unchanged: Gate) -> None:
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await unchanged.client().get("/v1/lending/7", headers={"traceparent": good, "tracestate": "a=1"})
    assert answer.json()["headers"]["traceparent"] == good
    assert answer.json()["headers"]["tracestate"] == "a=1"
    for bad in (good.upper(), good.replace("00-", "ff-"), "00-" + "0" * 32 + good[35:], good + "-x", "x"):
        headers = (
            await unchanged.client().get("/v1/lending/7", headers={"traceparent": bad, "tracestate": "a=1"})
        ).json()["headers"]
        assert TRACEPARENT.fullmatch(headers["traceparent"])
        assert headers["traceparent"] != bad
        assert "tracestate" not in headers


async def test_a_failure_inside_a_service_is_its_own_problem_and_told_once(unchanged: Gate) -> None:
    answer = await unchanged.client().get("/v1/lending/broken")
    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems/internal-error"
    assert "on purpose" not in answer.text


async def test_a_failure_in_the_gateway_is_a_problem_with_the_edges_headers(
    it: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Any) -> str:
        raise RuntimeError("broken on purpose")

    await it.account()
    monkeypatch.setattr(it.keys, "sign", broken)
    answer = await it.sign_in()
    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems/internal-error"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "on purpose" not in answer.text


async def test_half_an_answer_is_never_passed_off_as_a_whole(it: Gate) -> None:
    class Breaking(InProcess):
        async def forward(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"[1,", "more_body": True})
            raise ConnectionResetError

    surface: Surface = it.app.state.surface
    surface.upstreams = {**surface.upstreams, "lending": Breaking(it.behind["lending"])}
    transport = httpx.ASGITransport(it.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://kechuang.test") as client:
        with pytest.raises(ConnectionResetError):
            await client.get("/v1/lending/7")


class Away(InProcess):
    """A service that does not answer until it is there."""

    there = False

    async def openapi(self) -> dict[str, Any]:
        if not self.there:
            raise ConnectionRefusedError
        return await super().openapi()


async def test_while_a_service_has_not_told_its_paths_unknown_ones_are_503_and_then_found(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Surface, "AWAY_SECONDS", 0.01)
    away = Away(made_up_service("lending"))
    upstreams: dict[str, Upstream] = {"roster": InProcess(made_up_service("roster")), "lending": away}
    async with gate(databases, upstreams) as it:
        client = it.client()
        starting = await client.get("/v1/lending/7")
        assert (starting.status_code, starting.headers["retry-after"]) == (503, "2")
        assert (await client.get("/v1/roster/7")).status_code == 200
        assert (await client.get("/nowhere")).status_code == 404
        before = await client.get("/openapi.json")
        assert "/v1/lending/{thing}" not in before.json()["paths"]
        away.there = True

        async def found() -> bool:
            return (await client.get("/v1/lending/7")).status_code == 200

        await eventually(found, "lending's paths")
        assert (await client.get("/v1/nothing")).status_code == 404
        after = await client.get("/openapi.json", headers={"if-none-match": before.headers["etag"]})
        assert after.status_code == 200
        # A service that was known and is away keeps its paths: the failure is told when it is called.
        away.there = False
        await it.app.state.surface.refresh()
        assert (await client.get("/v1/lending/7")).status_code == 200
        assert json.loads((await client.get("/openapi.json")).content) == after.json()
