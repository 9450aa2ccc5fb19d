"""Whose request it is, and how many an address may send."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from pydantic import ValidationError

from services.ingest.addresses import Addresses, Proxies, networks
from services.ingest.rates import bucket
from services.ingest.settings import IngestSettings

PROXIES = Proxies(networks("10.0.0.0/8, ::1, 2001:db8::/32"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # nobody we trust says so
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "192.0.2.66, 198.51.100.1, 10.2.3.4", "198.51.100.1"),  # what a client invents stands on the left
        ("10.0.0.1", "10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("::1", "[2a00::5]:443", "2a00::5"),
        ("::ffff:10.0.0.1", "2a00::5", "2a00::5"),
    ],
)
def test_the_client_is_who_the_last_trusted_proxy_heard(peer: str, forwarded: str, client: str) -> None:
    assert PROXIES.client(peer, forwarded) == ip_address(client)


def test_what_has_no_address_is_not_counted() -> None:
    assert PROXIES.client("", "198.51.100.1") is None


def waits(addresses: Addresses, *texts: str, now: float = 0.0) -> list[bool]:
    return [addresses.take(ip_address(text), now) is not None for text in texts]


def test_each_address_has_a_rate_of_its_own_and_an_ipv6_network_one_together() -> None:
    addresses = Addresses(lambda: bucket("2/minute"))
    assert waits(addresses, "192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2") == [False, False, True, False]
    assert waits(addresses, "2a00::1", "2a00::2", "2a00::3", "2a00:0:0:1::1") == [False, False, True, False]
    assert waits(addresses, "192.0.2.1", now=30.0) == [False]
    assert addresses.take(ip_address("192.0.2.1"), 30.0) == pytest.approx(30.0)


def test_so_many_addresses_are_remembered_and_those_that_go_on_longest() -> None:
    addresses = Addresses(lambda: bucket("1/hour"), most=2)
    assert waits(addresses, "192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.3") == [False, False, True, False]
    assert waits(addresses, "192.0.2.1", "192.0.2.2") == [True, False]


@pytest.mark.parametrize("wrong", [{"ingest_address_rate": "fast"}, {"ingest_trusted_proxies": "10.0.0.0/99"}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        IngestSettings.model_validate(wrong)
