"""Which piece of business is being worked on: its trace (W3C Trace Context), its request, its service.

The trace's name is always there and always passed on: from the caller or made where a request comes in,
through the outbox and the bus to what other services do because of it, so that log lines of one command can
be joined. Spans are recorded and exported (OpenTelemetry, OTLP over HTTP) only when the standard variables
name an endpoint; without one a `Part` of the work costs a fraction of a microsecond.

Spans carry operation ids, topics, counts and classes of errors: never a query, a body, a name or the words
of an error, which may hold personal data.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span, SpanContext, Tracer

TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
Kind = Literal["INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]
Attribute = str | int
Thing = TypeVar("Thing")

service: ContextVar[str] = ContextVar("service", default="")
request_id: ContextVar[str] = ContextVar("request_id", default="")
_traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
ROOT = ""
"""The parent of what begins a trace of its own."""
LAST_SECONDS = 5.0
"""How long the end of the process waits for the last spans to be taken."""


def traceparent() -> str | None:
    """The W3C `traceparent` of what is being done here and now."""
    return _traceparent.get()


def trace_id() -> str:
    """The trace's id, 32 hexadecimal digits; '' outside of any."""
    return (_traceparent.get() or "")[3:35]


def new_traceparent() -> str:
    """The beginning of a trace."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


@contextmanager
def same() -> Iterator[None]:
    """Whatever trace the work inside goes into, afterwards it is the same as before."""
    token = _traceparent.set(_traceparent.get())
    try:
        yield
    finally:
        _traceparent.reset(token)


class EachInItsTrace(list[Thing]):
    """Things that each belong to a trace, in their order. Whoever walks over them is, at each, in its
    trace: so what a reaction announces because of an event continues that event's trace, however many it
    takes at once."""

    def __init__(self, things: Iterable[Thing], traces: Sequence[str | None]) -> None:
        super().__init__(things)
        self.traces = traces

    def __iter__(self) -> Iterator[Thing]:
        for thing, trace in zip(super().__iter__(), self.traces, strict=True):
            _traceparent.set(trace)
            yield thing


class Part:
    """A part of the work, as a context manager: a span when traces are exported. Inside, `traceparent()` is
    its own; without spans it is the `parent` given, or stays what it was.

    `parent` None: the part belongs to what is being done already; ROOT: it begins a trace. `links`: traces
    that are concerned too.
    """

    __slots__ = ("_attributes", "_kind", "_links", "_name", "_parent", "_token", "span")

    def __init__(
        self,
        name: str,
        kind: Kind = "INTERNAL",
        parent: str | None = None,
        links: Iterable[str] = (),
        attributes: Mapping[str, Attribute] | None = None,
    ) -> None:
        self._name = name
        self._kind = kind
        self._parent = parent
        self._links = links
        self._attributes = attributes
        self._token: Token[str | None] | None = None
        self.span: Span | None = None

    def __enter__(self) -> Part:
        if _processor is not None:
            self.span = self._begun()
            self._token = _traceparent.set(_named(self.span.get_span_context()))
        elif self._parent is not None:
            self._token = _traceparent.set(self._parent or new_traceparent())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _traceparent.reset(self._token)
        if self.span is not None:
            if kind is not None:
                self.failed(kind.__qualname__)
            self.span.end()

    def told(self, name: str | None = None, **attributes: Attribute) -> None:
        """Name the span anew, or tell more of it; dots in names are written `__`."""
        if self.span is not None:
            if name:
                self.span.update_name(name)
            for key, value in attributes.items():
                self.span.set_attribute(key.replace("__", "."), value)

    def failed(self, why: str) -> None:
        """Mark the span as failed, by the class of the error."""
        if self.span is not None:
            from opentelemetry.trace import StatusCode

            self.span.set_status(StatusCode.ERROR)
            self.span.set_attribute("error.type", why)

    def _begun(self) -> Span:
        from opentelemetry.context import Context
        from opentelemetry.trace import Link, NonRecordingSpan, SpanKind, set_span_in_context

        parent = _parsed(_traceparent.get() if self._parent is None else self._parent)
        context = set_span_in_context(NonRecordingSpan(parent), Context()) if parent else Context()
        links = [Link(linked) for name in self._links if (linked := _parsed(name))]
        return _tracer(service.get()).start_span(
            self._name,
            context,
            SpanKind[self._kind],
            self._attributes,
            links,
            record_exception=False,
            set_status_on_exception=False,
        )


def _parsed(name: str | None) -> SpanContext | None:
    if name is None or not TRACEPARENT.fullmatch(name):
        return None
    from opentelemetry.trace import SpanContext, TraceFlags

    _, trace, span, flags = name.split("-")
    return SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))


def _named(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


# ── the way out ──────────────────────────────────────────────────────────────────────────────────

_processor: SpanProcessor | None = None
_tracers: dict[str, Tracer] = {}


def asked_for(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the standard variables ask for traces: an OTLP endpoint, and nothing against it."""
    endpoint = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environment.get(
        "OTEL_EXPORTER_OTLP_ENDPOINT"
    )
    disabled = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return bool(endpoint) and not disabled and environment.get("OTEL_TRACES_EXPORTER", "otlp") != "none"


def turn_on(processor: SpanProcessor | None = None) -> None:
    """Record spans from now on; without a `processor`, export them as the standard variables say."""
    global _processor
    if processor is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        processor = BatchSpanProcessor(OTLPSpanExporter())
    _processor = processor


def turn_off() -> None:
    """Record no more, and export what was recorded; an exporter that takes too long is left behind."""
    global _processor
    processor, _processor = _processor, None
    _tracers.clear()
    if processor is not None:
        last = threading.Thread(target=processor.shutdown, daemon=True)
        last.start()
        last.join(LAST_SECONDS)


def on() -> bool:
    """Whether spans are recorded."""
    return _processor is not None


def _tracer(name: str) -> Tracer:
    """The tracer of a service: in one process there are four, each a resource of its own."""
    if name not in _tracers:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider

        resource = Resource.create({"service.namespace": "kechuang", "service.name": name or "kechuang"})
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        assert _processor is not None
        provider.add_span_processor(_processor)
        _tracers[name] = provider.get_tracer("kechuang")
    return _tracers[name]
