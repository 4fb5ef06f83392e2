"""The h2 library's engine, as a server that trusts no client uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.settings
import hpack

if TYPE_CHECKING:
    from hyperframe.frame import GoAwayFrame

MAX_STREAMS = 100
_STREAM_WINDOW_BYTES = 131072
_CONNECTION_WINDOW_BYTES = 1048576
_MAX_TABLE_BYTES = 4096


class _Encoder(hpack.Encoder):
    # The table of fields is as large as the client allows, which may be 4 GiB; ours stays small.
    @property
    def header_table_size(self) -> int:
        return int(self.header_table.maxsize)

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        hpack.Encoder.header_table_size.__set__(self, min(value, _MAX_TABLE_BYTES))  # type: ignore[attr-defined]

    # Huffman's code is a quarter of all the work in Python, and saves a quarter of a few hundred bytes.
    def encode(self, headers: Any, huffman: bool = False) -> bytes:
        return super().encode(headers, huffman)


class Engine(h2.connection.H2Connection):
    """The state of a client's connection, from the server's first frame.

    Args:
        max_head_bytes: that the fields of a request may have, unpacked.
    """

    #: Ids of streams that are over and still known: late frames of older ones end the connection.
    MAX_CLOSED_STREAMS = 1000

    def __init__(self, max_head_bytes: int) -> None:
        # What goes out was read by our own parser: it need not be checked again.
        super().__init__(
            h2.config.H2Configuration(
                client_side=False,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.encoder = _Encoder()
        codes = h2.settings.SettingCodes
        self.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                codes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                codes.INITIAL_WINDOW_SIZE: _STREAM_WINDOW_BYTES,
                codes.MAX_HEADER_LIST_SIZE: max_head_bytes,
                codes.ENABLE_PUSH: 0,
            },
        )
        self.decoder.max_header_list_size = max_head_bytes
        self.initiate_connection()
        self.increment_flow_control_window(_CONNECTION_WINDOW_BYTES - self.inbound_flow_control_window)

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> Any:
        # The library takes this for the end, and drops what it has to send. But a client that
        # opens no more streams still waits for the answers to those it has. Source: RFC 9113 section 6.8.
        unsent, state = self._data_to_send, self.state_machine.state
        received = super()._receive_goaway_frame(frame)
        self._data_to_send, self.state_machine.state = unsent, state
        return received
