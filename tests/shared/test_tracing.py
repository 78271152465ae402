"""One trace for one piece of business: across services, through outbox and bus, into what others do because
of it; without a word of what was said in it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from fastapi import FastAPI, Request
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from deploy.kafka.broker import Broker
from services.demo import uscc
from shared import tracing
from shared.bus import Outgoing
from shared.database import new_id
from shared.events import GuarantorAdmitted, GuarantorExited
from shared.kafka_bus import Connection, KafkaBus
from shared.measures.weave import ROOT
from shared.outbox import announce, row_of
from shared.plumbing import outbox
from shared.postgres_bus import PostgresBus
from tests.gateway.gate import served
from tests.ground import DAY, Alone, Databases, alone, eventually, key
from tests.journeys.town import Town, town
from tests.shared import toy
from tests.shared.test_delivery import admitted

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"
BOX = {"name": "a", "phone": "1", "amount": "1.00"}


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Spans are recorded, and kept here."""
    exporter = InMemorySpanExporter()
    tracing.turn_on(SimpleSpanProcessor(exporter))
    yield exporter
    tracing.turn_off()


def trace_of(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}" if span.context else ""


def told(span: ReadableSpan) -> tuple[str, str, str]:
    return str(span.resource.attributes["service.name"]), span.kind.name, span.name


# ── without spans ────────────────────────────────────────────────────────────────────────────────


async def traces(it: Alone) -> list[str | None]:
    async with it.running.database.reading() as session:
        return list((await session.execute(select(outbox.c.trace).order_by(outbox.c.seq))).scalars())


async def test_the_caller_s_trace_goes_with_the_fact_though_no_span_is_recorded(it: Alone) -> None:
    headers = key() | {"traceparent": CALLER}
    await it.client("office").post("/v1/boxes", json=BOX, headers=headers)
    assert await traces(it) == [CALLER]
    await it.settle()
    (heard,) = [r async for batch in it.bus.history(["kechuang.roster"]) for r in batch]
    assert heard.trace == CALLER


@pytest.mark.parametrize("sent", [None, "00-" + "0" * 32 + "-b7ad6b7169203331-01", "x", CALLER.upper()])
async def test_a_request_without_a_sane_trace_begins_one(it: Alone, sent: str | None) -> None:
    headers = key() | ({"traceparent": sent} if sent else {})
    await it.client("office").post("/v1/boxes", json=BOX, headers=headers)
    (trace,) = await traces(it)
    assert trace is not None
    assert tracing.TRACEPARENT.fullmatch(trace)
    assert trace[3:35] not in (sent or "")


async def test_outside_of_a_request_there_is_no_trace() -> None:
    assert (tracing.traceparent(), tracing.trace_id()) == (None, "")


async def exits(session: AsyncSession, events: Sequence[GuarantorAdmitted]) -> None:
    """A reaction that takes many events at once and announces one for each."""
    for event in events:
        about = event.model_dump(include={"business_date", "measures", "guarantor_id", "name"})
        announce(session, GuarantorExited(**about, effective_on=DAY))


@pytest.fixture
async def answering(databases: Databases, toy_permissions: None) -> AsyncIterator[Alone]:
    async with alone(databases, replace(toy.SERVICE, reactions={GuarantorAdmitted: (exits,)})) as running:
        yield running


def outgoing(event: GuarantorAdmitted, trace: str | None) -> Outgoing:
    row = row_of(event, trace)
    data = row["data"].encode()
    return Outgoing(row["topic"], row["key"], row["event_id"], row["type"], row["time"], trace, data)


async def test_what_a_reaction_announces_continues_the_trace_of_the_event_at_hand(answering: Alone) -> None:
    """Also of a batch that many commands made."""
    every = [CALLER, None, f"00-{'1' * 32}-{'2' * 16}-01", CALLER]
    events = [admitted(f"n{n}") for n in range(len(every))]
    await answering.bus.publish([outgoing(e, t) for e, t in zip(events, every, strict=True)])
    await answering.settle()
    async with answering.running.database.reading() as session:
        rows = (await session.execute(select(outbox.c.key, outbox.c.trace).order_by(outbox.c.seq))).all()
    assert [tuple(row) for row in rows] == [
        (str(event.guarantor_id), trace) for event, trace in zip(events, every, strict=True)
    ]


async def test_a_day_s_work_has_a_trace_of_its_own(databases: Databases, toy_permissions: None) -> None:
    async def daily(session: AsyncSession, day: Any) -> None:
        announce(session, admitted(f"{day} a"))
        announce(session, admitted(f"{day} b"))

    async with alone(databases, replace(toy.SERVICE, daily=daily)) as it:
        await it.move_to(DAY.replace(day=DAY.day + 1))
        found = await traces(it)
    assert all(found)
    assert found[0] == found[1]
    assert found[-2] == found[-1]
    assert found[0] != found[-1]


def test_without_spans_nothing_of_the_exporter_is_even_loaded() -> None:
    loaded = (
        "import sys; import services.run; "
        "sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, check=False).returncode == 0


# ── with spans ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def city(databases: Databases, spans: InMemorySpanExporter) -> AsyncIterator[Town]:
    async with town(databases) as it:
        spans.clear()
        yield it


async def test_one_command_is_one_trace_from_the_gateway_to_the_reactions_of_others(
    city: Town, spans: InMemorySpanExporter
) -> None:
    office = await city.office()
    body = {"uscc": uscc(999_999_000), "name": "科创担保"}
    await office.send("POST", "/v1/guarantors", json=body, headers={"traceparent": CALLER})
    await city.settle()
    ours = [span for span in spans.get_finished_spans() if trace_of(span) == TRACE]
    found = {told(span): span for span in ours}
    assert {
        ("gateway", "SERVER", "register_guarantor"),
        ("gateway", "CLIENT", "register_guarantor"),
        ("roster", "SERVER", "register_guarantor"),
        ("roster", "INTERNAL", "commit"),
        ("roster", "PRODUCER", "send kechuang.roster"),
        ("lending", "CONSUMER", "process kechuang.roster"),
        ("lending", "INTERNAL", "commit"),
    } <= found.keys()
    chain = [
        ("gateway", "SERVER", "register_guarantor"),
        ("gateway", "CLIENT", "register_guarantor"),
        ("roster", "SERVER", "register_guarantor"),
        ("lending", "CONSUMER", "process kechuang.roster"),
    ]
    for above, below in pairwise(chain):
        parent, context = found[below].parent, found[above].context
        assert parent is not None
        assert context is not None
        assert parent.span_id == context.span_id, f"{below} belongs to {above}"
    sent = found["roster", "PRODUCER", "send kechuang.roster"]
    producing = found["roster", "SERVER", "register_guarantor"].context
    assert [link.context.span_id for link in sent.links] == [producing and producing.span_id]
    shown = dict(found["gateway", "SERVER", "register_guarantor"].attributes or {})
    assert shown == {"http.request.method": "POST", "http.response.status_code": 201}


async def test_facts_of_several_commands_sent_at_once_are_linked_each_in_its_trace(
    it: Alone, spans: InMemorySpanExporter
) -> None:
    both = [CALLER, f"00-{'1' * 32}-{'2' * 16}-01"]
    events = [admitted("a"), admitted("b")]
    await it.bus.publish([outgoing(e, t) for e, t in zip(events, both, strict=True)])
    await it.settle()

    async def processed() -> dict[str, ReadableSpan] | None:
        found = {
            trace_of(span): span for span in spans.get_finished_spans() if span.kind is SpanKind.CONSUMER
        }
        return found if len(found) == 3 else None

    found: dict[str, ReadableSpan] = await eventually(processed)
    each = {name[3:35] for name in both}
    assert each < found.keys()
    (whole,) = (span for trace, span in found.items() if trace not in each)
    assert {f"{link.context.trace_id:032x}" for link in whole.links} == each
    assert (whole.attributes or {})["messaging.batch.message_count"] == 2


async def test_a_failed_request_s_span_says_so_and_not_with_which_words(
    it: Alone, spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("张三 13800138000")

    monkeypatch.setattr("shared.database._close", broken)
    await it.client("office").post("/v1/boxes", json=BOX, headers=key() | {"traceparent": CALLER})
    found = {span.name: span for span in spans.get_finished_spans() if trace_of(span) == TRACE}
    for name, why in (("commit", "RuntimeError"), ("make_box", "RuntimeError")):
        assert found[name].status.status_code.name == "ERROR"
        assert (found[name].attributes or {})["error.type"] == why
        assert "13800138000" not in found[name].to_json()


async def test_spans_hold_no_query_no_body_and_no_name(city: Town, spans: InMemorySpanExporter) -> None:
    secrets = ("李会计", "陈某某", "0573-85012345", "pinghu-tide-1984", "平湖科技", "Bearer", "secret-query")
    code = uscc(7)
    nobody, office = await city.somebody("enterprise", party=code), await city.office()
    persons = {"contact": secrets[0], "legal_representative": secrets[1], "phone": secrets[2]}
    headers = {"traceparent": CALLER}
    await city.recognise([code], DAY)
    await nobody.send("POST", "/v1/registrations", json={"uscc": code, **persons}, headers=headers)
    account = {"name": "chen", "display_name": secrets[4], "roles": ["office"], "password": secrets[3]}
    await office.send("POST", "/v1/accounts", json=account, headers=headers)
    wrong = {"name": "chen", "password": secrets[3] + "x"}
    await nobody.send("POST", "/v1/session", json=wrong, expect=401)
    await office.send("GET", "/v1/registrations", params={"q": "secret-query"}, headers=headers)
    await city.settle()
    everything = "\n".join(span.to_json() for span in spans.get_finished_spans())
    assert '"register_enterprise"' in everything
    assert '"sign_in"' in everything
    assert [secret for secret in (*secrets, code) if secret in everything] == []


# ── the way out ──────────────────────────────────────────────────────────────────────────────────

AT = "http://collector:4318"


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": AT}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": AT}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": AT}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": AT, "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": AT, "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_exported_when_the_standard_variables_ask_for_it(
    environment: dict[str, str], asked: bool
) -> None:
    assert tracing.asked_for(environment) is asked


async def test_spans_reach_a_collector_over_http(it: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[ExportTraceServiceRequest] = []
    collector = FastAPI()

    @collector.post("/v1/traces")
    async def take(request: Request) -> None:
        taken.append(ExportTraceServiceRequest.FromString(await request.body()))

    async with served(collector) as address:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        assert tracing.asked_for()
        tracing.turn_on()
        try:
            await it.client("office").post("/v1/boxes", json=BOX, headers=key() | {"traceparent": CALLER})
        finally:
            await asyncio.to_thread(tracing.turn_off)
    resources = [resource for request in taken for resource in request.resource_spans]
    named = {a.key: a.value.string_value for r in resources for a in r.resource.attributes}
    assert (named["service.namespace"], named["service.name"]) == ("kechuang", "roster")
    names = {s.name for r in resources for scope in r.scope_spans for s in scope.spans}
    assert {"make_box", "commit"} <= names


async def test_a_collector_that_is_away_holds_nobody(it: Alone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(tracing, "LAST_SECONDS", 0.2)
    tracing.turn_on()
    try:
        answer = await it.client("office").post("/v1/boxes", json=BOX, headers=key())
    finally:
        tracing.turn_off()
    assert answer.status_code == 201


# ── over both buses ──────────────────────────────────────────────────────────────────────────────


async def through(bus: PostgresBus | KafkaBus, topic: str) -> list[str | None]:
    """The traces of two records, as another service reads them."""
    await bus.start()
    event = admitted()
    records = [replace(outgoing(event, trace), topic=topic) for trace in (CALLER, None)]
    await bus.publish([replace(record, event_id=new_id()) for record in records])
    found = [record.trace async for batch in bus.history([topic]) for record in batch]
    await bus.close()
    return found


async def test_the_trace_goes_with_a_record_of_the_log(databases: Databases) -> None:
    url = await databases.fresh(None, "bus")
    assert await through(PostgresBus(url), "t") == [CALLER, None]
    await databases.drop(url)


@pytest.mark.kafka
async def test_the_trace_goes_with_a_record_of_kafka(broker: Broker) -> None:
    topic = f"traced-{new_id()}"
    assert await through(KafkaBus(Connection(broker.servers), [topic]), topic) == [CALLER, None]
