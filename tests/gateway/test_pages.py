"""Pages for people: they load nothing from outside, and run no script that stands in a page."""

from __future__ import annotations

import gc
import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest

from services.gateway.catalogue import every_refusal
from services.gateway.pages import SWAGGER
from shared.problems import Refusal, TooLarge
from shared.rules import Text
from tests.gateway.gate import Gate

PAGES = ["/", "/docs", "/redoc", "/problems", "/problems/too-large"]
HTML = {"accept": "text/html"}
LOADS = {("script", "src"), ("link", "href"), ("img", "src"), ("redoc", "spec-url"), ("iframe", "src")}


class Seen(HTMLParser):
    """What a page loads, where it leads, and what stands in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads_to: list[str] = []
        self.inline: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if (tag, name) in LOADS:
                self.loads.append(value or "")
            if (tag, name) == ("a", "href"):
                self.leads_to.append(value or "")
            if name.startswith("on"):
                self.inline.append(f"{name}={value}")
        self._in_script = tag == "script"

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.inline.append(data)


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_loads_only_files_of_this_installation_and_all_of_them_are_there(
    unchanged: Gate, page: str
) -> None:
    client = unchanged.client()
    answer = await client.get(page, headers=HTML)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    seen = Seen(answer.text)
    assert seen.loads
    for address in (*seen.loads, *seen.leads_to):
        assert address.startswith("/")
        assert not address.startswith("//")
        found = await client.get(urljoin(page, address), headers=HTML)
        assert found.status_code == 200, address


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_holds_no_script_and_its_policy_allows_none_and_nothing_from_outside(
    unchanged: Gate, page: str
) -> None:
    answer = await unchanged.client().get(page, headers=HTML)
    assert Seen(answer.text).inline == []
    policy = {
        name: sources
        for name, *sources in (part.split() for part in answer.headers["content-security-policy"].split(";"))
    }
    assert policy["default-src"] == ["'none'"]
    assert policy["script-src"] == ["'self'"]
    assert policy["frame-ancestors"] == ["'none'"]
    allowed = {source for sources in policy.values() for source in sources}
    assert allowed <= {"'none'", "'self'", "'unsafe-inline'", "data:", "blob:"}
    assert [name for name, sources in policy.items() if "'unsafe-inline'" in sources] == ["style-src"]


async def test_the_styles_and_the_start_of_the_documentation_ask_nobody_outside(unchanged: Gate) -> None:
    client = unchanged.client()
    css = (await client.get("/static/swagger-ui.css")).text
    assert [u for u in re.findall(r"url\(\s*[\"']?([^\"')]{5})", css) if u != "data:"] == []
    assert "@import" not in css
    start = (await client.get("/docs/start.js")).text
    assert start == SWAGGER
    assert "validatorUrl:null" in start  # by default it sends the document's address to a server outside
    assert "http" not in start


async def test_the_catalogue_lists_every_refusal_in_both_languages(unchanged: Gate) -> None:
    text = (await unchanged.client().get("/problems", headers=HTML)).text
    for slug, kinds in every_refusal().items():
        assert f"/problems/{slug}" in text
        assert kinds[0].title.zh in text
    assert TooLarge.title.en in text


async def test_the_type_of_a_problem_leads_to_its_page_and_to_json(unchanged: Gate) -> None:
    client = unchanged.client()
    problem = (await client.get("/v1/me")).json()
    page = await client.get(problem["type"], headers=HTML)
    assert problem["title"] in page.text
    [told] = (await client.get(problem["type"])).json()
    assert (told["type"], told["status"], told["title"]["en"]) == (problem["type"], 401, problem["title"])
    assert (await client.get("/problems/no-such-thing")).status_code == 404


async def test_refusals_of_one_name_are_all_shown_and_written_as_text(unchanged: Gate) -> None:
    class TwiceNamed(Refusal):
        """One <b>meaning</b>."""

        title = Text("同名甲", "Twice & named")

    second = type("TwiceNamed", (Refusal,), {"title": Text("同名乙", "Other"), "__doc__": "Another."})
    page = (await unchanged.client().get("/problems/twice-named", headers=HTML)).text
    assert "同名甲" in page
    assert "同名乙" in page
    assert "&lt;b&gt;" in page
    assert "Twice &amp; named" in page
    assert set(every_refusal()["twice-named"]) == {TwiceNamed, second}
    del TwiceNamed, second
    gc.collect()  # so that no other test finds them among the refusals
