"""A client that speaks HTTP/2 without TLS, with the h2 library, and can misbehave."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

import h2.config
import h2.connection
import h2.events
import h2.settings

if TYPE_CHECKING:
    from limpet.core.address import Address


class Answer:
    """What came back on one stream."""

    def __init__(self) -> None:
        self.status = 0
        self.interim: list[int] = []
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.trailers: list[tuple[bytes, bytes]] = []
        self.reset: int | None = None
        self.is_over = False


class H2Client:
    """One connection.

    Attributes:
        engine: of the h2 library; `flush` sends what it has to say.
        gone: the error code of a GOAWAY.
        is_closed: the other end has closed.
    """

    def __init__(self) -> None:
        # Without checks of its own: the tests send what no client may.
        self.engine = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.answers: dict[int, Answer] = {}
        self.gone: int | None = None
        self.is_closed = False
        self.reads = True
        self._changed = asyncio.Condition()

    @classmethod
    async def connect(cls, address: Address, *, window_bytes: int | None = None) -> Self:
        client = cls()
        client.reader, client.writer = await asyncio.open_connection(address.host, address.port)
        if window_bytes is not None:
            codes = h2.settings.SettingCodes
            client.engine.local_settings = h2.settings.Settings(
                client=True, initial_values={codes.INITIAL_WINDOW_SIZE: window_bytes}
            )
        client.engine.initiate_connection()
        client.flush()
        client._task = asyncio.ensure_future(client._read())
        return client

    def flush(self) -> None:
        self.writer.write(self.engine.data_to_send())

    def begin(
        self, *fields: tuple[bytes, bytes], method: bytes = b"GET", path: bytes = b"/", end: bool = True
    ):
        """Open a stream and return its number."""
        stream_id = self.engine.get_next_available_stream_id()
        names = {name for name, _ in fields}
        pseudo = [
            (b":method", method),
            (b":path", path),
            (b":scheme", b"http"),
            (b":authority", b"shop.example"),
        ]
        self.answers[stream_id] = Answer()
        headers = [pair for pair in pseudo if pair[0] not in names]
        self.engine.send_headers(
            stream_id, [*headers, *[f for f in fields if f[1] is not None]], end_stream=end
        )
        self.flush()
        return stream_id

    async def answer(self, stream_id: int) -> Answer:
        """Wait until a stream is over."""
        answer = self.answers[stream_id]
        await self.until(lambda: answer.is_over or self.is_closed)
        return answer

    async def ask(self, *fields: tuple[bytes, bytes], **more) -> Answer:
        return await self.answer(self.begin(*fields, **more))

    async def until(self, condition) -> None:
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(condition)

    async def close(self) -> None:
        self._task.cancel()
        self.writer.close()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while data := await self.reader.read(65536):
                for event in self.engine.receive_data(data):
                    self._take(event)
                self.flush()
                async with self._changed:
                    self._changed.notify_all()
        except ConnectionError:
            pass
        self.is_closed = True
        async with self._changed:
            self._changed.notify_all()

    def _take(self, event: h2.events.Event) -> None:
        answer = self.answers.get(getattr(event, "stream_id", None) or 0, Answer())
        match event:
            case h2.events.InformationalResponseReceived(headers=headers):
                answer.interim.append(int(dict(headers)[b":status"]))
            case h2.events.ResponseReceived(headers=headers):
                answer.status = int(dict(headers)[b":status"])
                answer.fields = list(headers[1:])
            case h2.events.DataReceived(data=data, flow_controlled_length=count, stream_id=stream_id):
                answer.body += data
                if self.reads:
                    self.engine.acknowledge_received_data(count, stream_id)
            case h2.events.TrailersReceived(headers=headers):
                answer.trailers = list(headers)
            case h2.events.StreamEnded():
                answer.is_over = True
            case h2.events.StreamReset(error_code=code):
                answer.reset, answer.is_over = int(code), True
            case h2.events.ConnectionTerminated(error_code=code):
                self.gone = int(code)
                # The library takes this for the end; the answers to come are not over yet.
                self.engine.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
