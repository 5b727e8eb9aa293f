"""Where messages may go: addresses of the public internet, and what a site allows."""

from __future__ import annotations

import ipaddress

import pytest

from hanseg_shared.errors import OptionError
from hanseg_shared.webhooks.addresses import Reach, Target

PUBLIC = Reach()

REFUSED = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.9.9.9",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.192",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]

ALLOWED = [
    "1.1.1.1",
    "93.184.216.34",
    "2606:4700::1111",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",
]


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_no_public_address_is_refused(address):
    assert not PUBLIC.allows(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ALLOWED)
def test_a_public_address_is_allowed(address):
    assert PUBLIC.allows(ipaddress.ip_address(address))


def test_a_sites_networks_are_allowed_and_no_others():
    reach = Reach.of(["10.1.0.0/16", "fd12::/16"], plain_http=False)
    for address, allowed in (
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("fd12::1", True),
        ("10.2.0.1", False),
        ("fd13::1", False),
        ("1.1.1.1", True),
    ):
        assert reach.allows(ipaddress.ip_address(address)) is allowed, address


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.org", Target("https", "example.org", 443, "/")),
        ("https://Example.ORG/x?y=1", Target("https", "example.org", 443, "/x?y=1")),
        ("https://example.org:8443/", Target("https", "example.org", 8443, "/")),
        ("https://1.1.1.1/x", Target("https", "1.1.1.1", 443, "/x")),
        ("https://[2606:4700::1111]/", Target("https", "2606:4700::1111", 443, "/")),
        ("https://pacs_1.clinic/x", Target("https", "pacs_1.clinic", 443, "/x")),
        ("https://xn--bcher-kva.example/", None),
    ],
)
def test_an_address_is_taken_apart(url, target):
    found = PUBLIC.require_url(url)
    assert target is None or found == target


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://example.org/", "begins with http://"),
        ("ftp://example.org/", "begins with https://"),
        ("file:///etc/passwd", "begins with https://"),
        ("gopher://example.org/", "begins with https://"),
        ("example.org/x", "begins with https://"),
        ("https://", "begins with https://"),
        ("https:///x", "begins with https://"),
        ("https://u:p@example.org/", "a name or a password"),
        ("https://@example.org/", "a name or a password"),
        ("https://example.org/#x", "fragment"),
        ("https://example.org:0/", "port 0"),
        ("https://example.org:99999/", "no address such as"),
        ("https://[::1/", "no address such as"),
        ("https://[fe80::1%25eth0]/", "no public address|no name of a host"),
        ("https://example.org/a b", "plain characters"),
        ("https://example.org/\r\nx: y", "plain characters"),
        ("https://exa\tmple.org/", "plain characters"),
        ("https://bücher.example/", "plain characters"),
        ("https://example.org\\@127.0.0.1/", "plain characters"),
        ("https://" + "a" * 2000, "plain characters"),
        ("https://127.0.0.1/", "no public address"),
        ("https://[::1]/", "no public address"),
        ("https://169.254.169.254/latest/meta-data", "no public address"),
        ("https://2130706433/", "no name of a host"),
        ("https://0x7f.1/", "no name of a host"),
        ("https://0x7f000001/", "no name of a host"),
        ("https://0177.0.0.1/", "no name of a host"),
        ("https://127.1/", "no name of a host"),
        ("https://-x.example/", "no name of a host"),
        ("https://a..example/", "no name of a host"),
    ],
)
def test_an_address_that_is_none_or_not_allowed_is_refused(url, said):
    with pytest.raises(OptionError, match=said):
        PUBLIC.require_url(url)


def test_plain_http_may_be_allowed():
    reach = Reach.of(["127.0.0.0/8"], plain_http=True)
    target = reach.require_url("http://127.0.0.1:8080/x")
    assert target == Target("http", "127.0.0.1", 8080, "/x")
    assert not target.is_secure
