"""The session that runs these tests has no network but loopback."""

import socket
from pathlib import Path

import pytest


def test_only_loopback_exists():
    interfaces = [
        line.split(":")[0].strip()
        for line in Path("/proc/net/dev").read_text().splitlines()[2:]
    ]
    assert interfaces == ["lo"], (
        f"The session can reach a network through {interfaces}: run `make test`, "
        "which needs bubblewrap (Debian: apt-get install bubblewrap)."
    )


def test_another_host_cannot_be_reached():
    with pytest.raises(OSError, match="unreachable"):
        socket.create_connection(("192.0.2.1", 80), timeout=2)


def test_loopback_works():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=2) as client,
    ):
        assert client.getpeername() == server.getsockname()
