"""The alerts, the board and the scraping ask for what the services really tell: every expression is parsed,
and every metric, label and value in it is found in a scrape of a running city."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from services.city import SERVICES
from services.demo import uscc
from shared.measures.weave import ROOT
from tests.ground import Databases
from tests.journeys.town import town

PROMETHEUS = ROOT / "deploy" / "prometheus"
BOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "kechuang.json").read_text("utf-8"))
PAGE = (ROOT / "docs" / "operations" / "observing.md").read_text("utf-8")
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]  # fmt: skip
PROMETHEUS_S_OWN = {"up"}
OF_THE_TARGET = {"job", "instance", "pod"}
"""Labels that the scraping adds."""
ONLY_WHEN_THEY_HAPPEN = {"kechuang_command_reruns_total": {"service", "operation"}}
"""Series that a quiet city does not show, with their labels."""
NAMED_BY_US = {"operation", "method", "part", "task", "service"}


def panels(of: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in of["panels"]:
        yield panel
        yield from panels({"panels": panel.get("panels", [])})


def queries() -> Iterator[tuple[str, str]]:
    """Every expression with where it stands; the board's variables are filled in."""
    yield from ((rule["alert"], rule["expr"]) for rule in RULES)
    for panel in panels(BOARD):
        for target in panel.get("targets", ()):
            filled = target["expr"].replace("$__rate_interval", "5m").replace("$service", ".*")
            yield panel["title"], filled
    for variable in BOARD["templating"]["list"]:
        if variable["type"] == "query":
            (metric, label) = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
            yield variable["name"], f"count by ({label}) ({metric})"


QUERIES = list(queries())


def nodes(expression: str) -> list[promql.Expr]:
    found: list[promql.Expr] = []
    promql.walk(promql.parse(expression), pre_visit=lambda node: found.append(node))
    return found


@pytest.fixture(scope="session")
async def told(databases: Databases) -> dict[str, Metric]:
    """What a city tells after a little traffic: name of a series → its family."""
    async with town(databases) as city:
        await city.guarantor()
        await city.bank(1)
        await (await city.office()).send("GET", "/v1/nowhere", expect=404)
        await (await city.office()).post("/v1/guarantors", {"uscc": uscc(1)}, expect=422)
        await city.settle()
        shown = (await city.running("gateway").metrics.exposition()).decode()
    families = {family.name: family for family in text_string_to_metric_families(shown)}
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
    return {
        name + suffix: family for name, family in families.items() for suffix in suffixes.get(family.type, ())
    }


def labels_of(name: str, told: dict[str, Metric]) -> dict[str, set[str]]:
    """The labels of a series, and the values seen."""
    found: dict[str, set[str]] = {label: set() for label in ONLY_WHEN_THEY_HAPPEN.get(name, ())}
    for sample in told[name].samples:
        if sample.name == name:
            for label, value in sample.labels.items():
                found.setdefault(label, set()).add(value)
    return found


@pytest.mark.parametrize(("where", "expression"), QUERIES, ids=[where for where, _ in QUERIES])
def test_what_an_expression_asks_for_is_told(where: str, expression: str, told: dict[str, Metric]) -> None:
    asked = [node for node in nodes(expression) if isinstance(node, promql.VectorSelector)]
    assert asked
    known: set[str] = set()
    for selector in asked:
        if selector.name in PROMETHEUS_S_OWN:
            known |= OF_THE_TARGET
            continue
        assert selector.name in told, f"{where}: {selector.name} is not told by any service"
        labels = labels_of(str(selector.name), told)
        known |= labels.keys() | OF_THE_TARGET
        for matcher in selector.matchers.matchers:
            name, value = matcher.name, matcher.value
            assert name in labels.keys() | OF_THE_TARGET, f"{where}: {selector.name} has no {name}"
            if name == "status":
                assert re.fullmatch("[2345]xx", value), f"{where}: no such class of status"
            elif name in NAMED_BY_US and matcher.op == promql.MatchOp.Equal:
                assert value in labels[name], f"{where}: {name} is never {value}"
    for node in nodes(expression):
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            assert set(node.modifier.labels) <= known, f"{where}: grouped by what no series has"


def test_a_metric_that_nobody_tells_is_found(told: dict[str, Metric]) -> None:
    for wrong in (
        "kechuang_outbox_oldest > 1",
        'kechuang_ready{piece="database"}',
        'kechuang_ready{part="memory"}',
        'rate(kechuang_request_duration_seconds_count{status="500"}[5m])',
        "sum by (topic) (kechuang_consumer_lag)",
    ):
        with pytest.raises(AssertionError):
            test_what_an_expression_asks_for_is_told("wrong", wrong, told)


def test_every_service_tells_everything(told: dict[str, Metric]) -> None:
    for name in told:
        if name.startswith("kechuang_") and name not in ONLY_WHEN_THEY_HAPPEN and "request" not in name:
            assert labels_of(name, told)["service"] == set(SERVICES), name


def test_everything_told_is_explained(told: dict[str, Metric]) -> None:
    ours = {family.name for name, family in told.items() if name.startswith("kechuang_")}
    explained = set(re.findall(r"^\| `(kechuang_\w+?)(?:_total)?` ", PAGE, re.MULTILINE))
    assert ours == explained


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_what_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    summary = rule["annotations"]["summary"]
    assert re.search("[一-鿿]", summary)
    assert " / " in summary
    assert rule["annotations"]["runbook"] == f"docs/operations/observing.md#{rule['alert'].lower()}"
    section = PAGE.split(f"### {rule['alert']}\n")[1].split("\n### ")[0]
    assert "**Means**" in section
    assert "**Do**" in section
    grouped = {
        label
        for node in nodes(rule["expr"])
        if isinstance(node, promql.AggregateExpr) and node.modifier
        for label in node.modifier.labels
    }
    for label in re.findall(r"\$labels\.(\w+)", summary):
        assert not grouped or label in grouped, f"{label} is not in the result"


def test_every_alert_on_the_page_exists() -> None:
    assert set(re.findall(r"^### (Kechuang\w+)$", PAGE, re.MULTILINE)) == {rule["alert"] for rule in RULES}


def test_the_one_host_form_is_scraped_where_it_serves_metrics() -> None:
    compose = yaml.compose((ROOT / "docker-compose.yml").read_text("utf-8"))
    assert compose is not None
    port = re.search(r'KECHUANG_METRICS_PORT: "(\d+)"', (ROOT / "docker-compose.yml").read_text("utf-8"))
    assert port is not None
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))
    (job,) = config["scrape_configs"]
    (targets,) = (static["targets"] for static in job["static_configs"])
    assert set(targets) == {f"{name}:{port[1]}" for name in SERVICES}
    assert f"{port[1]}:{port[1]}" not in (ROOT / "docker-compose.yml").read_text("utf-8"), "never published"


def test_a_cluster_is_scraped_by_the_port_s_name() -> None:
    config = yaml.safe_load((PROMETHEUS / "kubernetes.yml").read_text("utf-8"))
    (job,) = config["scrape_configs"]
    (found,) = job["kubernetes_sd_configs"]
    production = ROOT / "deploy" / "kubernetes" / "production" / "kustomization.yaml"
    assert found["namespaces"]["names"] == [yaml.safe_load(production.read_text("utf-8"))["namespace"]]
    kept = next(r for r in job["relabel_configs"] if r.get("action") == "keep")
    for name in SERVICES:
        manifest = (ROOT / "deploy" / "kubernetes" / "base" / f"{name}.yaml").read_text("utf-8")
        ports = [
            port["name"]
            for document in yaml.safe_load_all(manifest)
            if document["kind"] == "Deployment"
            for container in document["spec"]["template"]["spec"]["containers"]
            for port in container["ports"]
        ]
        assert kept["regex"] in ports


@pytest.mark.parametrize("name", ["prometheus.yml", "kubernetes.yml"])
def test_a_scrape_is_given_more_time_than_it_takes_and_reads_the_rules(name: str) -> None:
    config = yaml.safe_load((PROMETHEUS / name).read_text("utf-8"))
    assert config["rule_files"] == ["rules.yml"]
    assert int(config["global"]["scrape_timeout"][:-1]) > 5
    assert {job["job_name"] for job in config["scrape_configs"]} == {"kechuang"}


def test_the_board_is_whole() -> None:
    every = list(panels(BOARD))
    assert len({panel["id"] for panel in every}) == len(every)
    for panel in every:
        assert re.search("[一-鿿]", panel["title"])
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in every]
    assert len(set(places)) == len(places)
    assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in every)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here (it comes with Prometheus)")
@pytest.mark.parametrize(
    "command",
    [
        ("check", "rules", "rules.yml"),
        ("check", "config", "prometheus.yml"),
        ("check", "config", "kubernetes.yml"),
        ("test", "rules", "rules.test.yml"),
    ],
    ids=" ".join,
)
def test_prometheus_itself_takes_the_rules(command: tuple[str, ...]) -> None:
    """Also the courses of figures of `rules.test.yml`: when each alert comes, and when it does not."""
    promtool = Path(shutil.which("promtool") or "")
    done = subprocess.run([promtool, *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
