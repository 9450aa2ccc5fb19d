"""Ports on loopback that a server can keep."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from typing import Final

# Below what systems give to outgoing connections (Linux from 32768, macOS from 49152): one of those could take the
# port of a server that is just restarting.
KEPT: Final = range(20_000, 32_768)
_TRIES: Final = 100
_any = random.SystemRandom().choice
_given: set[int] = set()  # by this process, which may not listen there yet


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(choose: Callable[[range], int] = _any) -> int:
    """A port that nobody listens on now and no outgoing connection will get; another one each time.

    Raises OSError if none is found.
    """
    for _ in range(_TRIES):
        port = choose(KEPT)
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise OSError(f"no free port found between {KEPT.start} and {KEPT.stop - 1}")
