"""Addresses that may be contacted, and the many ways to write one that may not."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from apps.common.egress import (
    LOCAL,
    PUBLIC,
    Address,
    EgressForbidden,
    EgressPolicy,
    NameNotResolved,
    check_address,
    check_url,
    policy_for,
    resolve,
    target,
)

ANY_PORT = EgressPolicy(ports=None)


def reason_of(url: str, policy: EgressPolicy = ANY_PORT) -> str:
    with pytest.raises(EgressForbidden) as refusal:
        check_url(url, policy)
    return refusal.value.reason


class TestPublic:
    @pytest.mark.parametrize(
        "url",
        [
            "https://bayi.example.com",
            "http://bayi.example.com/servis/",
            "https://bayi.example.com:8443/a?b=c",
            "http://bayi.example.com:8080",
            "https://8.8.8.8/api",
            "https://[2606:4700::1111]/api",
            "https://bücher.example/",
            "https://under_score.example.com/",
            "HTTPS://BAYI.EXAMPLE.COM./",
        ],
    )
    def test_takes(self, url: str) -> None:
        check_url(url, PUBLIC)

    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1",
            "127.255.0.9",
            "10.0.0.1",
            "172.16.5.5",
            "192.168.1.1",
            "100.64.0.1",
            "100.100.100.200",
            "198.18.0.1",
            "[::1]",
            "[fd00::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
        ],
    )
    def test_refuses_private_numbers(self, host: str) -> None:
        assert "private or loopback" in reason_of(f"http://{host}/")

    @pytest.mark.parametrize(
        "host",
        [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "localhost.localdomain",
            "redis",
            "printer.local",
            "metadata.google.internal",
            "db.home.arpa",
        ],
    )
    def test_refuses_local_names(self, host: str) -> None:
        assert "mark the integration as local" in reason_of(f"http://{host}/")

    @pytest.mark.parametrize("port", [22, 25, 3306, 5432, 6379, 9200, 11211])
    def test_refuses_other_ports(self, port: int) -> None:
        text = f"port {port} is not allowed; add it to the integration's extra ports if it is right"
        assert reason_of(f"http://a.example.com:{port}/", PUBLIC) == text

    def test_takes_the_extra_ports_of_the_options(self) -> None:
        check_url("https://a.example.com:9443/", policy_for(is_local=False, extra_ports=[9443]))


class TestEverywhere:
    """What not even a local integration may contact."""

    @pytest.mark.parametrize("policy", [ANY_PORT, LOCAL])
    @pytest.mark.parametrize(
        "host",
        [
            "169.254.169.254",
            "169.254.0.1",
            "168.63.129.16",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "[::]",
            "[fe80::1]",
            "[ff02::1]",
            "[fec0::1]",
            "[fd00:ec2::254]",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:a9fe:a9fe::1]",
        ],
    )
    def test_refuses_numbers(self, host: str, policy: EgressPolicy) -> None:
        assert "link-local, reserved or a metadata service" in reason_of(f"http://{host}/", policy)

    @pytest.mark.parametrize("policy", [ANY_PORT, LOCAL])
    @pytest.mark.parametrize(
        "host",
        [
            "2130706433",
            "0x7f000001",
            "0X7F.0.0.1",
            "0x7f.1",
            "017700000001",
            "0177.0.0.1",
            "127.1",
            "127.0.1",
            "127.0.0.01",
            "127.0.0.1.",
            "0",
            "0x",
            "1.2.3.4.5",
            "256.1.1.1",
            "3232235777",
            "134744072",
            "a.1",
            "\uff11\uff12\uff17.0.0.1.1",
        ],
    )
    def test_refuses_unusual_notations(self, host: str, policy: EgressPolicy) -> None:
        assert "unusual notation" in reason_of(f"http://{host}/", policy)

    @pytest.mark.parametrize(
        "host", ["\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "\u2460\u2461\u2466.0.0.1"]
    )
    def test_reads_foreign_digits_as_what_they_become(self, host: str) -> None:
        assert "private or loopback" in reason_of(f"http://{host}/")

    @pytest.mark.parametrize(
        "host", ["[fe80::1%25eth0]", "[::1", "a..b", "-a.example.com", "a%2eb.example.com", "a,b.com"]
    )
    def test_refuses_hosts_that_are_none(self, host: str) -> None:
        assert reason_of(f"http://{host}/", LOCAL)

    @pytest.mark.parametrize("scheme", ["ftp", "file", "gopher", "dict", "ldap", "javascript", "", "httpx", "ws"])
    def test_refuses_other_schemes(self, scheme: str) -> None:
        assert reason_of(f"{scheme}://a.example.com/", LOCAL) == "the address must begin with http:// or https://"

    def test_refuses_http_where_only_https_is_allowed(self) -> None:
        policy = EgressPolicy(schemes=frozenset({"https"}))
        assert reason_of("http://a.example.com/", policy) == "the address must begin with https://"

    @pytest.mark.parametrize(
        "url", ["http://kod:s3cr3t@a.example.com/", "http://a@b.example.com", "http://@a.example.com"]
    )
    def test_refuses_a_login(self, url: str) -> None:
        text = reason_of(url, LOCAL)
        assert "credential fields" in text
        assert "s3cr3t" not in text

    @pytest.mark.parametrize(
        "url",
        [
            "http://a.example.com\\@127.0.0.1/",
            "http://a.example.com/ x",
            "http://a.example.com/\r\nX: y",
            "http://a.example.com\t/",
            " http://a.example.com/",
            "http://a.example.com/\x00",
        ],
    )
    def test_refuses_characters_that_readers_disagree_on(self, url: str) -> None:
        assert "white space, a backslash or a control character" in reason_of(url, LOCAL)

    @pytest.mark.parametrize("port", ["0", "65536", "-1", "x", "8 0"])
    def test_refuses_what_is_no_port(self, port: str) -> None:
        assert reason_of(f"http://a.example.com:{port}/", LOCAL)

    @pytest.mark.parametrize("url", ["", "a.example.com", "//a.example.com", "http://", "http:///x", "https://#x"])
    def test_refuses_what_is_no_address(self, url: str) -> None:
        assert reason_of(url, LOCAL)


class TestLocal:
    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1:9001/servis",
            "http://localhost:8000",
            "http://simulator:5000/a",
            "http://192.168.1.10",
            "http://[::1]:8000/",
            "https://bayi.example.com/",
            "http://db.internal:6379/",
        ],
    )
    def test_takes(self, url: str) -> None:
        check_url(url, policy_for(is_local=True))


class TestTarget:
    def test_gives_scheme_host_and_port(self) -> None:
        assert target("https://BÜCHER.example/x", PUBLIC) == ("https", "xn--bcher-kva.example", 443)
        assert target("http://[2606:4700::1111]:8080/x", PUBLIC) == ("http", "2606:4700::1111", 8080)


class TestResolve:
    @pytest.fixture
    def service(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The addresses that every name has."""
        addresses: list[str] = []

        def look_up(_host: str, port: int, **_options: Any) -> Any:
            return [(socket.AF_INET6 if ":" in ip else socket.AF_INET, 1, 6, "", (ip, port)) for ip in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        return addresses

    def test_gives_the_checked_addresses(self, service: list[str]) -> None:
        service += ["8.8.8.8", "2606:4700::1111", "8.8.8.8"]
        assert resolve("a.example.com", 443, PUBLIC) == [
            Address(socket.AF_INET, "8.8.8.8", 443),
            Address(socket.AF_INET6, "2606:4700::1111", 443),
        ]

    @pytest.mark.parametrize(
        "bad", ["127.0.0.1", "10.1.1.1", "169.254.169.254", "::1", "fe80::1%eth0", "::ffff:127.0.0.1"]
    )
    @pytest.mark.parametrize("is_first", [True, False])
    def test_one_bad_address_forbids_the_name(self, service: list[str], bad: str, is_first: bool) -> None:
        service += [bad, "8.8.8.8"] if is_first else ["8.8.8.8", bad]
        with pytest.raises(EgressForbidden):
            resolve("a.example.com", 443, PUBLIC)

    def test_no_address_is_said_so(self, service: list[str]) -> None:
        with pytest.raises(NameNotResolved):
            resolve("a.example.com", 443, PUBLIC)

    def test_a_name_that_cannot_be_asked_for_is_said_so(self) -> None:
        with pytest.raises(NameNotResolved):
            resolve("a" * 64 + ".example.com", 443, PUBLIC)

    def test_private_addresses_are_given_to_local_policies_only(self, service: list[str]) -> None:
        service += ["10.1.1.1"]
        assert resolve("a.example.com", 443, LOCAL) == [Address(socket.AF_INET, "10.1.1.1", 443)]


def test_check_address_refuses_text() -> None:
    with pytest.raises(EgressForbidden):
        check_address("example.com", LOCAL)
