"""The catalogue of problems: every refusal of the services, in both languages, under the address its
problem documents name as their `type`."""

from __future__ import annotations

import html

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from services.gateway.pages import html_page
from shared.problems import Refusal, not_found

pages = APIRouter(include_in_schema=False)


def every_refusal() -> dict[str, list[type[Refusal]]]:
    """All kinds of refusals known to this process, by slug; services may share a slug."""
    found: dict[str, list[type[Refusal]]] = {}
    waiting = [Refusal]
    while waiting:
        kind = waiting.pop()
        waiting.extend(kind.__subclasses__())
        if kind is not Refusal:
            found.setdefault(kind.slug(), []).append(kind)
    return {slug: sorted(found[slug], key=_place) for slug in sorted(found)}


def _place(kind: type[Refusal]) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__


@pages.get("/problems")
async def list_problems() -> Response:
    """All of them, with status and rule."""
    rows = "".join(
        f"<tr><td><a href=/problems/{slug}><code>{slug}</code></a><td>{kind.status}"
        f"<td>{html.escape(kind.title.zh)}<td>{html.escape(kind.title.en)}<td>{kind.rule or ''}"
        for slug, kinds in every_refusal().items()
        for kind in kinds[:1]
    )
    return html_page(
        "拒绝原因 Problems",
        "<h1>拒绝原因 Problems</h1><table><tr><th>type<th>HTTP<th>中文<th>English<th>规则 rule"
        f"{rows}</table>",
    )


@pages.get("/problems/{slug}")
async def show_problem(slug: str, request: Request) -> Response:
    """One of them: a page for people, JSON for programs."""
    kinds = every_refusal().get(slug)
    if kinds is None:
        not_found("这种拒绝原因", "problem")
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse([_told(slug, kind) for kind in kinds])
    parts = "".join(_paragraphs(kind) for kind in kinds)
    return html_page(
        html.escape(kinds[0].title.zh),
        f"{parts}<p><code>{slug}</code></p><p><a href=/problems>全部 all</a></p>",
    )


def _told(slug: str, kind: type[Refusal]) -> dict[str, object]:
    title = {"zh": kind.title.zh, "en": kind.title.en}
    told = {"type": f"/problems/{slug}", "status": kind.status, "title": title, "rule": kind.rule}
    return told | {"article": kind.article, "description": _words(kind)}


def _paragraphs(kind: type[Refusal]) -> str:
    decided = "，".join(filter(None, (f"HTTP {kind.status}", kind.rule, kind.article)))
    return (
        f"<h1>{html.escape(kind.title.zh)}<br><small>{html.escape(kind.title.en)}</small></h1>"
        f"<p>{decided}</p><p>{html.escape(_words(kind))}</p>"
    )


def _words(kind: type[Refusal]) -> str:
    """The docstring of the class itself; its base's would explain something else."""
    return " ".join((kind.__dict__.get("__doc__") or "").split())
