"""The tracking paths: parse, accept, append, answer. A plain ASGI callable in front of the app that serves the rest."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl

import structlog
from prometheus_client import Counter

from services.ingest.accept import Intake
from services.ingest.at_once import EXTENSION, AtOnce
from services.ingest.body import MAX_BODY, decompress
from services.ingest.configuration import Configuration
from services.ingest.cors import HeaderList, answer_headers, preflight_headers
from services.ingest.decide import Decided, decide
from services.ingest.dialects.dialect import Answer, Dialect, Outcome, problem, told
from services.ingest.dialects.raw import Parsed
from services.ingest.encode import rejected_record, shared_headers
from services.ingest.errors import Refusal
from services.ingest.in_flight import InFlight, Limits
from services.ingest.plain import Plain, Visitors
from services.ingest.policy import Applied
from services.ingest.reasons import Rejection
from services.ingest.redrive import kept, kept_covered
from services.ingest.sources import Sender
from services.ingest.telemetry import Telemetry
from services.ingest.times import Arrival
from shared.eventlog.port import Appender, LogUnavailable, Record
from shared.identifiers import IdentityRules
from shared.touchpoint import REJECTED, TOUCHPOINTS

RETRY_SECONDS: Final = 2.0
_log = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Any]
Send = Callable[[MutableMapping[str, Any]], Any]
App = Callable[[Scope, Receive, Send], Any]


class Gone(Exception):
    """The client hung up; nobody waits for an answer."""


@dataclass(frozen=True, slots=True)
class Edge:
    """What comes from outside: the time of day, a clock that only runs forward, fresh ids and trace parents."""

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    new_id: Callable[[], str]
    new_traceparent: Callable[[], bytes]


_NEVER: Final = (None, None, None)
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Request:
    """What of an HTTP request the work needs."""

    __slots__ = ("at_once", "body", "headers", "held", "method", "origin", "path", "query", "receive", "working")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.body = b""
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.query = _query(scope["query_string"])
        self.origin = self.headers.get(b"origin")
        self.receive = receive
        self.at_once: AtOnce | None = scope.pop(EXTENSION, None)  # with it, scope and connection were a cycle
        self.held = self.working = 0  # bytes

    @property
    def is_retry(self) -> bool:
        """Whether the request says that it was sent before, so that its `sentAt` is an old one."""
        headers, query = self.headers, self.query
        said = (headers.get(b"x-retry-count"), headers.get(b"rsa-retry-attempt"), query.get("retry_count"))
        return said != _NEVER and any(map(_is_one_or_more, said))

    @property
    def traceparent(self) -> bytes | None:
        """The trace that the request belongs to, if it says so in W3C's form."""
        given = self.headers.get(b"traceparent")
        return given if given is not None and _TRACEPARENT.fullmatch(given) else None

    @property
    def is_strict(self) -> bool:
        return self.query.get("strict", "").lower() in ("1", "true")


def _query(raw: bytes) -> dict[str, str]:
    return dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True)) if raw else {}


def _is_one_or_more(text: bytes | str | None) -> bool:
    if text is None:
        return False
    try:
        return int(text) >= 1
    except ValueError:
        return False


class Tracking:
    """Answers the tracking paths and every preflight; hands everything else to ``rest``, with CORS headers."""

    def __init__(
        self, configuration: Configuration, rules: IdentityRules, appender: Appender, *, limits: Limits, edge: Edge,
        telemetry: Telemetry, rest: App, seal: Callable[[bytes], bytes] | None = None,
    ) -> None:  # fmt: skip
        self._seal = seal
        self._rules, self._appender, self._edge = rules, appender, edge
        self._visitors = Visitors(rules)
        self._telemetry, self._rest = telemetry, rest
        self._in_flight = in_flight = InFlight(limits)
        telemetry.in_flight.set_function(lambda: in_flight.requests)
        telemetry.in_flight_bytes.set_function(lambda: in_flight.bytes)
        self._accepted: dict[str, Counter] = {}
        self.configure(configuration)

    def configure(self, configuration: Configuration) -> None:
        """From now on. The sources of before are still counted: requests of theirs may be on their way."""
        self.configuration = configuration
        self._accepted |= {name: self._telemetry.accepted.labels(name) for name in configuration.senders.names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
        elif (dialect := self.configuration.routes.get(scope["path"])) is not None and scope["method"] != "OPTIONS":
            await self._track(dialect, Request(scope, receive), send)
        elif scope["method"] == "OPTIONS":
            await _send(send, 200, preflight_headers(dict(scope["headers"])), b"")
        else:
            await self._hand_on(scope, receive, send)

    async def turn_away(self, scope: Scope, receive: Receive, send: Send, refusal: Refusal) -> None:
        """Refuses a request unread, in the words of its dialect."""
        await self._refuse(send, Request(scope, receive), refusal, self.configuration.routes.get(scope["path"]))

    async def _hand_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """To the app behind, which has no limit of its own for bodies: it gets one that is whole and not too large."""
        request = Request(scope, receive)
        try:
            body = await self._read(request)
        except Refusal as refusal:
            await self._refuse(send, request, refusal)
        except Gone:
            return
        else:
            await self._rest(scope, _replayed(body, receive), _with_cors(send, request.origin))
        finally:
            self._in_flight.bytes -= request.held

    async def _track(self, dialect: Dialect, request: Request, send: Send) -> None:
        start = self._edge.monotonic()
        in_flight = self._in_flight
        try:
            in_flight.enter()
        except Refusal as refusal:
            await self._refuse(send, request, refusal, dialect)
            return
        try:
            if request.method not in dialect.methods:
                raise _not_allowed(dialect)
            answer = await self._take(dialect, request)
        except Refusal as refusal:
            await self._refuse(send, request, refusal, dialect)
        except Gone:
            return
        except LogUnavailable as away:
            await self._refuse(send, request, Refusal("log_unavailable", retry_after=RETRY_SECONDS), dialect, str(away))
        except Exception:
            _log.exception("a tracking request failed in an unforeseen way", path=request.path)
            await self._refuse(send, request, Refusal("internal"), dialect)
        else:
            await _answer(send, request, answer)
        finally:
            in_flight.requests -= 1
            in_flight.bytes -= request.held
            in_flight.working -= request.working
            self._telemetry.request_seconds.observe(self._edge.monotonic() - start)

    async def _take(self, dialect: Dialect, request: Request) -> Answer:
        """From a request to its answer; raises Refusal, Gone or LogUnavailable."""
        request.body = self._unfolded(request, await self._read(request))
        self._begin(request)
        received_at = self._edge.now()
        parsed = dialect.parse(request)
        sender = self._sender(request, parsed, dialect.max_touchpoints)
        policy = sender.policy.on(request.headers)
        arrival = Arrival.of(received_at, parsed.sent_at, request.is_retry)
        traceparent = request.traceparent or self._edge.new_traceparent()
        source = sender.source.name
        touchpoints, rejected, dropped = self._decide(parsed, sender, policy, arrival, traceparent)
        strict = bool(rejected) and request.is_strict
        if strict:
            touchpoints = []
        letters = self._letters(request, parsed, rejected, policy, source, received_at, traceparent) if rejected else []
        request.body = b""  # what waits for the log should hold no more than it must
        outcome = Outcome(len(touchpoints), rejected, parsed.ids)
        seen = len(parsed.items)
        del parsed
        await self._append(touchpoints, letters)
        self._count(source, len(touchpoints), seen, rejected, dropped, policy)
        if strict:
            raise Refusal("touchpoints_rejected", more=told(outcome))
        return dialect.answer(outcome)

    def _letters(
        self, request: Request, parsed: Parsed, rejected: list[tuple[int, Rejection]], policy: Applied, source: str,
        received_at: datetime, traceparent: bytes,
    ) -> list[Record]:  # fmt: skip
        """A dead letter for each that was rejected, without what its source hides."""
        as_sent, as_covered = kept(request, parsed, request.is_retry), kept_covered(request, parsed, request.is_retry)
        letters = []
        for index, wrong in rejected:
            original = parsed.original(index)
            data = policy.letter(parsed.items[index], original)
            letter = rejected_record(
                wrong, index, source=source, received_at=received_at, original=data, traceparent=traceparent,
                request=as_sent if data is original else as_covered if data else "", seal=self._seal,
            )  # fmt: skip
            letters.append(letter)
        return letters

    def _unfolded(self, request: Request, raw: bytes) -> bytes:
        body = decompress(raw, request.headers.get(b"content-encoding", b"").decode("latin-1"))
        grown = len(body) - len(raw)
        if grown > 0:
            self._hold(request, grown)
        return body

    async def _read(self, request: Request) -> bytes:
        """The body as it came, counted while it comes."""
        length = request.headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > MAX_BODY:
            raise Refusal("body_too_large")
        message = await request.receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            return self._held(request, message.get("body", b""))
        try:
            async with asyncio.timeout(self._in_flight.limits.body_seconds):
                return await self._read_on(request, message)
        except TimeoutError as error:
            raise Refusal("body_too_slow") from error

    async def _read_on(self, request: Request, message: MutableMapping[str, Any]) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                raise Gone
            parts.append(self._held(request, message.get("body", b"")))
            size += len(parts[-1])
            if size > MAX_BODY:
                raise Refusal("body_too_large")
            if not message.get("more_body"):
                return b"".join(parts)
            message = await request.receive()

    def _begin(self, request: Request) -> None:
        n = len(request.body)
        self._in_flight.begin(n)
        request.working = n

    def _held(self, request: Request, part: bytes) -> bytes:
        self._hold(request, len(part))
        self._telemetry.body_bytes.inc(len(part))
        return part

    def _hold(self, request: Request, n: int) -> None:
        self._in_flight.hold(n)
        request.held += n

    def _sender(self, request: Request, parsed: Parsed, at_most: int) -> Sender:
        """Who sends this, if he may, now, from there, so much."""
        sender = self.configuration.senders.of(request.headers, request.query, parsed)
        origin = request.origin.decode("latin-1") if request.origin is not None else None
        if not sender.takes_from(origin):
            raise Refusal("origin_forbidden")
        n = len(parsed.items)
        if n > at_most:
            raise Refusal("too_many_touchpoints")
        wait = sender.bucket.take(n, self._edge.monotonic()) if sender.bucket is not None else None
        if wait is not None:
            raise Refusal("rate_exceeded", retry_after=wait)
        return sender

    def _decide(self, parsed: Parsed, sender: Sender, policy: Applied, arrival: Arrival, traceparent: bytes) -> Decided:
        source, rules = sender.source, self._rules
        intake = Intake(source=source, arrival=arrival, rules=rules, new_id=self._edge.new_id, policy=policy)
        plain = Plain(intake, policy, self._visitors)
        return decide(parsed.items, plain, intake, shared_headers(traceparent, source.name.encode()))

    async def _append(self, touchpoints: list[Record], letters: list[Record]) -> None:
        start = self._edge.monotonic()
        if letters:
            await asyncio.gather(
                self._appender.append(REJECTED, letters), self._appender.append(TOUCHPOINTS, touchpoints)
            )
        elif touchpoints:
            await self._appender.append(TOUCHPOINTS, touchpoints)
        self._telemetry.append_seconds.observe(self._edge.monotonic() - start)

    def _count(
        self, source: str, n: int, seen: int, rejected: list[tuple[int, Rejection]], dropped: list[str], policy: Applied
    ) -> None:
        self._accepted[source].inc(n)
        self._telemetry.batch_touchpoints.observe(seen)
        for _, wrong in rejected:
            self._telemetry.rejected.labels(source, wrong.reason).inc()
        for reason in dropped:
            self._telemetry.dropped.labels(source, reason).inc()
        if policy.bots:
            self._telemetry.bots.labels(source).inc(policy.bots)
        for event in policy.violations:
            self._telemetry.plan_violations.labels(source, event).inc()

    async def _refuse(
        self, send: Send, request: Request, refusal: Refusal, dialect: Dialect | None = None, why: str = ""
    ) -> None:
        self._telemetry.refused.labels(refusal.code).inc()
        if refusal.status >= 500:
            _log.warning("a tracking request was refused", code=refusal.code, why=why or refusal.detail)
        await _answer(send, request, dialect.refuse(refusal) if dialect else problem(refusal))


def _not_allowed(dialect: Dialect) -> Refusal:
    methods = sorted(dialect.methods)
    detail = f"touchpoints are sent with {' or '.join(methods)}"
    return Refusal("method_not_allowed", detail, allowed=", ".join((*methods, "OPTIONS")))


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body first, then whatever comes."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receiving() -> Any:
        return waiting.pop() if waiting else await receive()

    return receiving


def _with_cors(send: Send, origin: bytes | None) -> Send:
    """A `send` that lets pages read the answers of the rest as well."""
    if origin is None:
        return send
    more = answer_headers(origin)

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return sending


async def _answer(send: Send, request: Request, answer: Answer) -> None:
    headers = [(b"content-type", answer.content_type.encode()), *answer.headers, *answer_headers(request.origin)]
    if request.at_once is None or not request.at_once(answer.status, headers, answer.body):
        await _send(send, answer.status, headers, answer.body)


async def _send(send: Send, status: int, headers: HeaderList, body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
