"""Spans for OpenTelemetry: one for each request, made when it has ended.

Where they go, and how they are named, is up to OpenTelemetry's own variables:
`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES` and so on. They are
exported in batches by a thread of the SDK; a collector that does not answer costs spans, never
requests. Source: OpenTelemetry semantic conventions for HTTP spans, 1.27.
"""

from __future__ import annotations

import os
import time
from random import Random
from typing import TYPE_CHECKING, Any

from limpet.core.trace_context import Trace, begin
from limpet.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from limpet.config.schema import TracingSettings
    from limpet.core.request import RequestHead
    from limpet.proxy.exchange import Exchange


def check_tracing(settings: TracingSettings) -> None:
    """Make sure that spans can be made.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """
    if settings.enabled:
        _sdk()


def _sdk() -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk import resources, trace  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError([f"tracing.enabled: needs {error.name}; install limpet[otel]"]) from None
    return OTLPSpanExporter, BatchSpanProcessor, resources, trace


class Tracer:
    """Names the spans of requests, and exports them.

    Raises:
        ConfigError: OpenTelemetry is not installed.
    """

    def __init__(self, settings: TracingSettings) -> None:
        exporter, processor, resources, self._sdk = _sdk()
        self._share = settings.sample
        self._rng = Random(os.urandom(8))  # noqa: S311  # which traces are recorded is no secret
        self._resource = resources.Resource.create(
            {"service.name": os.environ.get("OTEL_SERVICE_NAME", "limpet")}
        )
        self._processor = processor(exporter())
        # Spans have wall clock times, requests monotonic ones.
        self._offset_s = time.time() - time.monotonic()

    def begin(self, request: RequestHead) -> Trace:
        """Return the trace of a request."""
        header = request.header(b"traceparent")
        return begin(header, os.urandom, samples=lambda: self._rng.random() < self._share)

    def end(self, exchanges: Iterable[Exchange]) -> None:
        """Export the spans of finished exchanges, those that are recorded."""
        for exchange in exchanges:
            trace = exchange.trace
            if trace is not None and trace.is_sampled:
                self._processor.on_end(self._span(exchange, trace))

    def close(self) -> None:
        """Export what is left; it may block for a while."""
        self._processor.shutdown()

    def _span(self, exchange: Exchange, trace: Trace) -> Any:
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags  # noqa: PLC0415

        def context(span_id: bytes, *, is_remote: bool) -> SpanContext:
            ids = int.from_bytes(trace.trace_id, "big"), int.from_bytes(span_id, "big")
            return SpanContext(*ids, is_remote=is_remote, trace_flags=TraceFlags(TraceFlags.SAMPLED))

        status = Status(StatusCode.ERROR) if exchange.status >= 500 else Status(StatusCode.UNSET)
        parent = trace.parent_id
        return self._sdk.ReadableSpan(
            name=exchange.request.method.decode("latin-1"),
            context=context(trace.span_id, is_remote=False),
            parent=context(parent, is_remote=True) if parent is not None else None,
            resource=self._resource,
            attributes=_attributes(exchange),
            kind=SpanKind.SERVER,
            status=status,
            start_time=self._ns(exchange.start_s),
            end_time=self._ns(exchange.ended_s),
        )

    def _ns(self, mono_s: float) -> int:
        return int((mono_s + self._offset_s) * 1e9)


def _attributes(exchange: Exchange) -> dict[str, Any]:
    request, decision = exchange.request, exchange.decision
    found: dict[str, Any] = {
        "http.request.method": request.method.decode("latin-1"),
        "url.path": request.path.partition(b"?")[0].decode("latin-1"),
        "url.scheme": "https" if request.is_https else "http",
        "server.address": request.fields.host.decode("latin-1"),
        "client.address": request.client_ip,
        "http.response.status_code": exchange.status,
        "limpet.request_id": exchange.request_id.decode("latin-1"),
        "limpet.retries": len(exchange.attempts),
    }
    if exchange.error is not None:
        found["error.type"] = exchange.error.label
    if decision is not None:
        found["limpet.target_group"] = decision.group.name
        found["limpet.sticky_status"] = decision.status.value
        if decision.target is not None:
            found["limpet.target"] = decision.target.id
    if exchange.first_byte_s and exchange.sent_s:
        found["limpet.target_response_s"] = round(exchange.first_byte_s - exchange.sent_s, 6)
    return found
