"""Spans reach a collector, and targets hear of limpet's part of the trace."""

import asyncio
import gzip
import http.server
import threading

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(http.server.ThreadingHTTPServer):
    """Takes spans over OTLP/HTTP."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans = []
        self.arrived = threading.Condition()
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def wait_for(self, count):
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.spans) >= count, 20)
        return self.spans


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        message = ExportTraceServiceRequest.FromString(data)
        self.send_response(200)
        self.end_headers()
        with self.server.arrived:
            for resource in message.resource_spans:
                for scope in resource.scope_spans:
                    self.server.spans += scope.spans
            self.server.arrived.notify_all()

    def log_message(self, *_):
        pass


@pytest.fixture
def collector(monkeypatch):
    server = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    yield server
    server.shutdown()
    server.thread.join()
    server.server_close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_span_for_each_request(play, collector, workers):
    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A"), tracing={"enabled": True}, workers=workers)
        await ground.get("/cart?secret=1", traceparent=f"00-{TRACE}-{PARENT}-01", X_Request_Id="first")
        await ground.get("/again")
        await ground.get("/unsampled", traceparent=f"00-{TRACE}-{PARENT}-00")
        spans = await asyncio.to_thread(collector.wait_for, 2)
        first, second = sorted(spans, key=lambda span: span.start_time_unix_nano)
        facts = {each.key: each.value for each in first.attributes}
        assert (first.trace_id.hex(), first.parent_span_id.hex(), first.name) == (TRACE, PARENT, "GET")
        assert facts["url.path"].string_value == "/cart"
        assert facts["http.response.status_code"].int_value == 200
        assert facts["limpet.target"].string_value == "A"
        assert facts["limpet.request_id"].string_value == "first"
        assert first.start_time_unix_nano < first.end_time_unix_nano
        assert second.parent_span_id == b""
        sent = [
            line.split(b": ")[1].decode()
            for head in ground.servers["A"].requests
            if b"/health" not in head
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"traceparent")
        ]
        assert sent[0] == f"00-{TRACE}-{first.span_id.hex()}-01"
        assert sent[1] == f"00-{second.trace_id.hex()}-{second.span_id.hex()}-01"
        assert sent[2].startswith(f"00-{TRACE}-")
        assert sent[2].endswith("-00")
        assert len(sent) == 3

    play(story)


def test_without_tracing_the_header_goes_through(play):
    async def story(ground):
        await ground.server("A")
        await ground.start(ground.group("A"))
        await ground.get(traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="a=b")
        head = ground.servers["A"].requests[-1]
        assert f"traceparent: 00-{TRACE}-{PARENT}-01".encode() in head
        assert b"tracestate: a=b" in head

    play(story)
