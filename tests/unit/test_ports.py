"""Ports that servers can keep."""

from __future__ import annotations

import random
import socket

import pytest

from throughline.ports import KEPT, free_port, is_free


def test_a_port_is_given_once_and_only_if_nobody_listens_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = [taken.getsockname()[1], free_port(), free_port()]
        tries = iter(refused)
        assert free_port(lambda kept: next(tries, None) or random.choice(kept)) not in refused
    assert next(tries, None) is None
    assert len({free_port() for _ in range(50)}) == 50


def test_outgoing_connections_get_no_port_of_a_server() -> None:
    assert all(free_port() in KEPT for _ in range(5))


def test_when_all_are_taken_it_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="no free port"):
        free_port(lambda _: taken.getsockname()[1])


def test_a_port_of_ipv6_can_be_asked_for() -> None:
    assert is_free(free_port(), "::1")
