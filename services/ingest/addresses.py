"""Who asks, by network address, and how often one address may. The clock is an argument."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from services.ingest.rates import Bucket

Address = IPv4Address | IPv6Address
MOST: Final = 65_536  # addresses that are remembered; beyond that the one that was silent longest is forgotten
IPV6_PREFIX: Final = 64  # what one customer of a provider gets: he has all addresses in it


def networks(text: str) -> list[IPv4Network | IPv6Network]:
    """Addresses and networks, separated by commas; ValueError names what is none."""
    return [ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip()]


class Proxies:
    """Proxies that are believed when they say in X-Forwarded-For whom they speak for."""

    def __init__(self, trusted: Iterable[IPv4Network | IPv6Network]) -> None:
        self._trusted = list(trusted)

    def client(self, peer: str, forwarded: str) -> Address | None:
        """The last address on the way that is no trusted proxy; None where nothing is an address."""
        address = _address(peer)
        for hop in reversed(forwarded.split(",")):
            if address is None or not self._is_trusted(address) or (before := _address(hop.strip())) is None:
                break
            address = before
        return address

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _address(text: str) -> Address | None:
    """With or without a port, IPv6 in brackets or not."""
    bare = text[1:].partition("]")[0] if text.startswith("[") else text
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        found = ip_address(bare)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


class Addresses:
    """A bucket for each address, in bounded memory."""

    def __init__(self, new_bucket: Callable[[], Bucket], most: int = MOST) -> None:
        self._new_bucket, self._most = new_bucket, most
        self._buckets: dict[object, Bucket] = {}  # whoever was heard of last stands last

    def take(self, address: Address, now: float) -> float | None:
        """None when one more request from there may pass at ``now`` (seconds), else the seconds to wait."""
        key = ip_network((address, IPV6_PREFIX), strict=False) if isinstance(address, IPv6Address) else address
        bucket = self._buckets.pop(key, None) or self._new_bucket()
        self._buckets[key] = bucket
        if len(self._buckets) > self._most:
            del self._buckets[next(iter(self._buckets))]
        return bucket.take(1, now)
