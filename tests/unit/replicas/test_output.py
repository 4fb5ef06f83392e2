from __future__ import annotations

import asyncio
import io
import os

import pytest

from limpet.replicas.output import Printer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def copied(*chunks: bytes) -> str:
    stream = io.StringIO()

    async def run() -> None:
        read_end, write_end = os.pipe()
        copying = asyncio.create_task(Printer("B", 1, stream).copy(read_end))
        for chunk in chunks:
            await asyncio.to_thread(os.write, write_end, chunk)  # waits if the pipe is full
        os.close(write_end)
        await copying

    asyncio.run(run())
    return stream.getvalue()


@pytest.mark.parametrize(
    ("chunks", "text"),
    [
        ([], ""),
        ([b"one\n"], "B | one\n"),
        ([b"one\ntwo\n"], "B | one\nB | two\n"),
        ([b"o", b"n", b"e\nt", b"wo\n"], "B | one\nB | two\n"),
        ([b"\n\nthree\n"], "B | \nB | \nB | three\n"),
        ([b"no newline"], "B | no newline\n"),
        ([b"windows\r\n"], "B | windows\n"),
        ([b"\xff\xe4\n"], "B | \ufffd\ufffd\n"),
        (["half an \u00e4".encode()[:-1], "\u00e4\n".encode()[1:]], "B | half an \u00e4\n"),
    ],
)
def test_every_line_carries_the_name(chunks: list[bytes], text: str) -> None:
    assert copied(*chunks) == text


def test_an_endless_line_is_passed_on_in_pieces() -> None:
    text = copied(*[b"x" * 50_000] * 4)
    assert text.count("B | ") > 1
    assert text.count("x") == 200_000


def test_colour_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal, plain = Terminal(), io.StringIO()
    Printer("A", 0, terminal).write("x")
    Printer("A", 0, plain).write("x")
    assert terminal.getvalue() == "\x1b[36mA |\x1b[0m x\n"
    assert plain.getvalue() == "A | x\n"
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal()
    Printer("A", 0, terminal).write("x")
    assert terminal.getvalue() == "A | x\n"


def test_what_our_output_cannot_show_is_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Printer("A", 0, stream).write("gr\u00fc\u00df")
    assert raw.getvalue() == b"A | gr\\xfc\\xdf\n"


def test_a_closed_output_is_no_error() -> None:
    stream = io.StringIO()
    printer = Printer("A", 0, stream)
    stream.close()
    printer.write("x")
