"""Pages for people that need no internet: where to begin, and the interface's documentation (Swagger UI
and ReDoc from files of this installation, nothing inline but ReDoc's own styles)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from services.gateway.surface import Surface

pages = APIRouter(include_in_schema=False)
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}
STYLE = (
    "body{font:16px/1.6 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;color:#1a2433}"
    "a{color:#0b5cad}code{background:#eef2f7;padding:.1em .3em;border-radius:3px}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;border-bottom:1px solid #d5dde8;"
    "padding:.4em .6em;vertical-align:top}"
)
HEAD = (
    "<!doctype html><html lang=zh><head><meta charset=utf-8><meta name=viewport "
    'content="width=device-width"><link rel=icon href=/static/favicon.png><title>{title}</title>'
)
SWAGGER = (
    "SwaggerUIBundle({url:'/openapi.json',dom_id:'#ui',deepLinking:true,displayOperationId:true,"
    "persistAuthorization:false,validatorUrl:null})"
)


def bundled() -> StaticFiles:
    """Swagger UI and ReDoc as files of this installation."""
    spec = find_spec("fastapi_offline")
    assert spec is not None
    assert spec.origin is not None
    return StaticFiles(directory=Path(spec.origin).parent / "static")


def html_page(title: str, body: str, head: str = f"<style>{STYLE}</style>") -> HTMLResponse:
    return HTMLResponse(
        f"{HEAD.format(title=title)}{head}</head><body>{body}</body></html>", headers=PAGE_HEADERS
    )


@pages.get("/")
async def begin() -> HTMLResponse:
    """What this is, and where to go on."""
    return html_page(
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
async def openapi_document(request: Request) -> Response:
    """The one OpenAPI document, with an ETag."""
    surface = cast(Surface, request.app.state.surface)
    headers = {"ETag": surface.etag, "Cache-Control": "no-cache"}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if known & {surface.etag, "*"}:
        return Response(status_code=304, headers=headers)
    return Response(surface.body, media_type="application/json", headers=headers)


@pages.get("/docs")
async def swagger() -> HTMLResponse:
    """Swagger UI of the one document."""
    return html_page(
        "科创贷 接口文档",
        "<div id=ui></div><script src=/static/swagger-ui-bundle.js></script>"
        "<script src=/docs/start.js></script>",
        "<link rel=stylesheet href=/static/swagger-ui.css>",
    )


@pages.get("/docs/start.js")
async def swagger_start() -> Response:
    """Starts Swagger UI: a file, so that no script need stand in the page."""
    return Response(SWAGGER, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


@pages.get("/redoc")
async def redoc() -> HTMLResponse:
    """ReDoc of the one document."""
    return html_page(
        "科创贷 接口文档",
        "<redoc spec-url=/openapi.json></redoc><script src=/static/redoc.standalone.js></script>",
        "<style>body{margin:0}</style>",
    )
