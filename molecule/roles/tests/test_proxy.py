"""floyo_proxy: TLS, headers, rate limit, readiness, drain."""

from __future__ import annotations

import http.client
import ssl
from typing import TYPE_CHECKING

import pytest
from testinfra.host import Host

if TYPE_CHECKING:
    from molecule.conftest import Fleet


@pytest.fixture(scope="module")
def trusting(proxy: Host) -> ssl.SSLContext:
    """Trusts the proxy's own certificate and nothing else."""
    pem = proxy.check_output("cat /etc/haproxy/certs/*.pem")
    context = ssl.create_default_context(cadata=pem[pem.index("-----BEGIN CERT") :])
    return context


def head(fleet: Fleet, context: ssl.SSLContext) -> http.client.HTTPResponse:
    client = http.client.HTTPSConnection(fleet.address(fleet.groups["floyo_proxy"][0]), timeout=30, context=context)
    client.request("GET", "/health")
    return client.getresponse()


def test_every_answer_carries_the_security_headers(fleet: Fleet, trusting: ssl.SSLContext) -> None:
    answer = head(fleet, trusting)  # With no backend up this is HAProxy's own 503, which needs them as well.
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert "Server" not in answer.headers


def test_plain_http_points_to_https(fleet: Fleet) -> None:
    address = fleet.address(fleet.groups["floyo_proxy"][0])
    client = http.client.HTTPConnection(address, timeout=30)
    client.request("GET", "/a?b=c")
    answer = client.getresponse()
    assert (answer.status, answer.headers["Location"]) == (308, f"https://{address}/a?b=c")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_refused(fleet: Fleet, trusting: ssl.SSLContext) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError, match=r"(?i)alert|version|reset|eof"):
        head(fleet, old)


def test_the_key_is_for_root_alone(proxy: Host) -> None:
    modes = proxy.check_output("stat -c '%a %U' /etc/haproxy/certs /etc/haproxy/certs/*.key")
    assert modes.splitlines() == ["700 root", "600 root"]


def test_one_address_has_a_limit(fleet: Fleet, backend: Host) -> None:
    """Asked from a backend, since the controller's address may be exempt."""
    address = fleet.address(fleet.groups["floyo_proxy"][0])
    statuses = backend.check_output(
        f"curl --silent --parallel --insecure --output /dev/null --write-out '%{{http_code}}\\n' 'https://{address}/health?[1-400]'"
    ).split()
    assert statuses[0] != "429"
    assert statuses.count("429") >= 50


def test_only_ready_backends_get_requests(fleet: Fleet, proxy: Host, running: Host) -> None:
    name = running.check_output("hostname")
    proxy.check_output(
        'timeout 20 sh -c \'until curl --silent --globoff "http://127.0.0.1:8405/;csv" | grep -q "^floyo,$0,.*,UP,";'
        " do sleep 0.2; done' %s",
        name,
    )


def test_a_server_can_be_drained(fleet: Fleet, proxy: Host) -> None:
    name = fleet.groups["floyo_backend"][0]

    def command(text: str) -> str:
        return str(
            proxy.check_output(
                "python3 -c 'import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
                ' s.sendall(sys.argv[2].encode() + b"\\n"); print(s.makefile().read())\' /run/haproxy/admin.sock %s',
                text,
            )
        )

    command(f"set server floyo/{name} state drain")
    try:
        state = [line.split() for line in command("show servers state floyo").splitlines() if name in line.split()]
        assert int(state[0][6]) & 8  # SRV_ADMF_FDRAIN of HAProxy's administrative state
    finally:
        command(f"set server floyo/{name} state ready")


def test_access_is_logged(proxy: Host, fleet: Fleet, trusting: ssl.SSLContext) -> None:
    head(fleet, trusting)
    proxy.check_output("timeout 10 sh -c 'until grep -q \"GET /health\" /var/log/haproxy.log; do sleep 0.1; done'")


def test_the_configuration_is_accepted_without_a_warning(proxy: Host) -> None:
    judged = proxy.run("haproxy -c -f /etc/haproxy/haproxy.cfg")
    assert judged.succeeded
    assert "WARNING" not in judged.stderr + judged.stdout
