"""Answers on the wire: in one piece where they can be, and the same to the letter where they cannot."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.integration.ingest.conftest import Service, track

ANSWER = b'{"success":true,"accepted":1,"rejected":[]}'


@asynccontextmanager
async def connected(service: Service) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    try:
        yield reader, writer
    finally:
        writer.close()


def request(*headers: bytes, method: bytes = b"POST") -> bytes:
    body = json.dumps(track()).encode()
    head = [method + b" /v1/track HTTP/1.1", b"host: x", b"authorization: Bearer shop-key", *headers]
    return b"\r\n".join([*head, b"content-length: %d" % len(body), b"", body])


async def come(reader: asyncio.StreamReader) -> tuple[bytes, dict[bytes, bytes], bytes]:
    """The next answer: status line, headers, body."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    first, *lines = head[:-4].split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines)
    del headers[b"date"]
    return first, headers, await reader.readexactly(int(headers[b"content-length"]))


async def test_head_and_body_come_in_one_piece(service: Service) -> None:
    async with connected(service) as (reader, writer):
        for _ in range(3):
            writer.write(request())
            piece = await asyncio.wait_for(reader.read(65536), 20)
            assert piece.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
            assert piece.endswith(b"\r\ncontent-length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER))


async def test_an_answer_that_ends_the_connection_is_the_same_but_for_that(service: Service) -> None:
    async with connected(service) as (reader, writer):
        writer.write(request())
        first, headers, body = await come(reader)
        writer.write(request(b"connection: close"))
        assert await come(reader) == (first, headers | {b"connection": b"close"}, body)
        assert await reader.read() == b""


async def test_requests_sent_ahead_are_answered_in_turn(service: Service) -> None:
    async with connected(service) as (reader, writer):
        writer.write(request() + request(method=b"PUT") + request())
        statuses = [(await come(reader))[0] for _ in range(3)]
    assert statuses == [b"HTTP/1.1 200 OK", b"HTTP/1.1 405 Method Not Allowed", b"HTTP/1.1 200 OK"]


async def test_the_origin_of_a_page_is_mirrored(service: Service) -> None:
    async with connected(service) as (reader, writer):
        writer.write(request(b"origin: https://shop.example"))
        _, headers, body = await come(reader)
    assert headers[b"access-control-allow-origin"] == b"https://shop.example"
    assert body == ANSWER


async def test_to_head_there_is_no_body(service: Service) -> None:
    async with connected(service) as (reader, writer):
        writer.write(request(method=b"HEAD"))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        assert head.startswith(b"HTTP/1.1 405 ")
        writer.write(request())
        assert (await come(reader))[2] == ANSWER


async def test_who_waits_for_leave_to_send_gets_it_first(service: Service) -> None:
    head, body = request(b"expect: 100-continue").split(b"\r\n\r\n")
    async with connected(service) as (reader, writer):
        writer.write(head + b"\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await come(reader))[2] == ANSWER
