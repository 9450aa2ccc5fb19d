"""A log that can be read while something is down."""

from __future__ import annotations

import logging

from shared.logs import Seldom


def said(name: str, text: str, at: float) -> logging.LogRecord:
    record = logging.LogRecord(name, logging.WARNING, "", 0, text, None, None)
    record.created = at
    return record


def test_the_kafka_client_says_the_same_thing_once_in_half_a_minute() -> None:
    seldom = Seldom()
    heard = [seldom.filter(said("aiokafka.conn", "cannot connect", at)) for at in (0.0, 0.1, 29.0, 31.0, 32.0)]
    assert heard == [True, False, False, True, False]
    assert seldom.filter(said("aiokafka.conn", "something else", 32.0))


def test_everybody_else_may_repeat_themselves() -> None:
    seldom = Seldom()
    assert all(seldom.filter(said("services.stitcher", "waiting", at)) for at in (0.0, 0.1))
