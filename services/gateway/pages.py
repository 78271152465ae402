"""Pages for people that need no internet: where to begin, the interface's documentation, and what each
problem means."""

from __future__ import annotations

import html
import json
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from services.gateway.openapi import merge
from services.gateway.proxy import Proxy
from shared.problems import Refusal, not_found

pages = APIRouter(include_in_schema=False)
CSP = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' "
    "'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:",
    "Cache-Control": "no-cache",
}
STYLE = (
    "body{font:16px/1.6 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;color:#1a2433}"
    "a{color:#0b5cad}code{background:#eef2f7;padding:.1em .3em;border-radius:3px}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;border-bottom:1px solid #d5dde8;"
    "padding:.4em .6em;vertical-align:top}"
)


def bundled() -> StaticFiles:
    """Swagger UI and ReDoc as files of this installation."""
    spec = find_spec("fastapi_offline")
    assert spec is not None
    assert spec.origin is not None
    return StaticFiles(directory=Path(spec.origin).parent / "static")


def _page(title: str, body: str) -> HTMLResponse:
    return HTMLResponse(
        "<!doctype html><html lang=zh><meta charset=utf-8>"
        f"<title>{title}</title><style>{STYLE}</style>{body}",
        headers=CSP,
    )


@pages.get("/")
async def begin() -> HTMLResponse:
    return _page(
        "科创贷 Kechuang",
        "<h1>科创贷 <small>Kechuang</small></h1>"
        "<p>科创企业贷款管理服务系统：支持名单、贷款备案、逾期报告、风险代偿与追偿。<br>"
        "The science-and-technology loan scheme: support list, filings, overdue reports, compensation, "
        "recovery.</p><ul>"
        "<li><a href=/docs>接口文档 Interface documentation</a>（<a href=/redoc>ReDoc</a>，"
        "<a href=/openapi.json>OpenAPI</a>）</li>"
        "<li><a href=/problems>拒绝办理的各种原因 What each refusal means</a></li>"
        "<li><a href=/readyz>系统状态 State of the system</a></li></ul>",
    )


@pages.get("/openapi.json")
async def surface(request: Request) -> Response:
    """The one OpenAPI document, with an ETag."""
    proxy = cast(Proxy, request.app.state.proxy)
    documents = {"gateway": request.app.openapi(), **await proxy.refresh()}
    body = json.dumps(merge(documents), ensure_ascii=False).encode()
    tag = f'"{sha256(body).hexdigest()[:32]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(body, media_type="application/json", headers={"ETag": tag, "Cache-Control": "no-cache"})


@pages.get("/docs")
async def swagger() -> HTMLResponse:
    return HTMLResponse(
        "<!doctype html><html lang=zh><meta charset=utf-8><title>科创贷 接口文档</title>"
        "<link rel=stylesheet href=/static/swagger-ui.css><link rel=icon href=/static/favicon.png>"
        "<div id=ui></div><script src=/static/swagger-ui-bundle.js></script>"
        "<script>SwaggerUIBundle({url:'/openapi.json',dom_id:'#ui',deepLinking:true,"
        "persistAuthorization:false,displayOperationId:true})</script>",
        headers=CSP,
    )


@pages.get("/redoc")
async def redoc() -> HTMLResponse:
    return HTMLResponse(
        "<!doctype html><html lang=zh><meta charset=utf-8><title>科创贷 接口文档</title>"
        "<link rel=icon href=/static/favicon.png><redoc spec-url=/openapi.json></redoc>"
        "<script src=/static/redoc.standalone.js></script>",
        headers=CSP,
    )


def every_refusal() -> dict[str, type[Refusal]]:
    """All kinds of refusals of the services in this process, by slug."""
    found: dict[str, type[Refusal]] = {}
    waiting = [Refusal]
    while waiting:
        kind = waiting.pop()
        found.setdefault(kind.slug(), kind)
        waiting.extend(kind.__subclasses__())
    return dict(sorted(found.items()))


@pages.get("/problems")
async def problems() -> HTMLResponse:
    rows = "".join(
        f"<tr><td><a href=/problems/{slug}><code>{slug}</code></a><td>{kind.status}<td>{kind.title.zh}"
        f"<td>{kind.title.en}<td>{kind.rule or ''}"
        for slug, kind in every_refusal().items()
    )
    return _page("拒绝原因 Problems", f"<h1>拒绝原因 Problems</h1><table>{rows}</table>")


@pages.get("/problems/{slug}")
async def problem(slug: str, request: Request) -> Response:
    kind = every_refusal().get(slug)
    if kind is None:
        not_found("这种拒绝原因", "problem")
    if "text/html" not in request.headers.get("accept", ""):
        title = {"zh": kind.title.zh, "en": kind.title.en}
        told = {"type": f"/problems/{slug}", "status": kind.status, "title": title}
        return JSONResponse(told | {"rule": kind.rule, "article": kind.article})
    words = html.escape((kind.__doc__ or "").strip())
    decided = "，".join(filter(None, (f"HTTP {kind.status}", kind.rule, kind.article)))
    return _page(
        kind.title.zh,
        f"<h1>{kind.title.zh}<br><small>{kind.title.en}</small></h1>"
        f"<p><code>{slug}</code>，{decided}</p><p>{words}</p><p><a href=/problems>全部 all</a></p>",
    )
