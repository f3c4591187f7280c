"""Certificates and proxies: what does not fit is found before anything is sent, what fails says what to change."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trustme
from abatch.engine.errors import ConfigurationError
from abatch.engine.protocol.conversation import ChatMessage
from abatch.workloads.http.network import DIRECT, Network
from abatch.workloads.targets import http_target
from abatch.workloads.targets.http_connection import Connection
from abatch.workloads.targets.http_target import HttpTarget
from abatch.workloads.targets.target import Call, Reply
from abatch.workloads.targets.unreachable import TargetError
from abatch.workloads.watching.metrics_page import MetricsPage
from support.fake_server import Behaviour, fake_server
from support.keeping_server import keeping_server
from support.proxy import proxy

_CALL = Call([ChatMessage(role="user", content="hi")], 1, "s")
_METRICS = b"vllm:num_requests_running 3\nvllm:num_requests_waiting 1\n"
_PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(_METRICS), _METRICS)


class Certificates:
    """An authority, what it has signed, and what it has not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority, self.other = trustme.CA(), trustme.CA()
        self.ca_cert = self._file("ca.pem", self.authority.cert_pem.bytes())
        client = self.authority.issue_cert("client@example.com")
        self.client = self._file("client.pem", b"".join(blob.bytes() for blob in client.cert_chain_pems))
        self.client_key = self._file("client.key", client.private_key_pem.bytes())
        self.other_key = self._file("other.key", self.other.issue_cert("x").private_key_pem.bytes())
        self.nothing = self._file("nothing.pem", b"hello")

    def _file(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def of_server(
        self, *, name: str = "127.0.0.1", is_expired: bool = False, asks_client: bool = False
    ) -> ssl.SSLContext:
        """What a server shows."""
        ends = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC) if is_expired else None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(name, not_after=ends).configure_cert(context)
        if asks_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.maximum_version = ssl.TLSVersion.TLSv1_2  # later ones tell the client after it has begun to send
            self.authority.configure_trust(context)
        return context


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


async def ask(url: str, network: Network = DIRECT) -> tuple[Reply, HttpTarget]:
    target = await Connection(url=url, timeout_s=5, network=network).open("m")
    reply = Reply()
    await target.send(_CALL, reply)
    await target.close()
    return reply, target


async def test_a_certificate_of_one_s_own_authority(certificates: Certificates) -> None:
    async with keeping_server(tls=certificates.of_server()) as server:
        url = f"https://127.0.0.1:{server.port}"
        for network in (Network(ca_cert=certificates.ca_cert), Network(is_insecure=True)):
            reply, _ = await ask(url, network)
            assert reply.error is None
            assert 0 < reply.tls_s <= reply.connect_s
        reply, _ = await ask(url)
    assert reply.error == "connect"
    assert "--ca-cert" in (reply.error_message or "")
    assert "--insecure" in (reply.error_message or "")


@pytest.mark.parametrize(
    ("settings", "says"), [({"is_expired": True}, "expired"), ({"name": "elsewhere.example"}, "127.0.0.1")]
)
async def test_what_is_wrong_with_a_certificate_is_said(
    certificates: Certificates, settings: dict[str, bool], says: str
) -> None:
    async with keeping_server(tls=certificates.of_server(**settings)) as server:  # type: ignore[arg-type]
        url = f"https://127.0.0.1:{server.port}"
        with pytest.raises(TargetError, match=f"its certificate is not trusted .*{says}.*--insecure"):
            await Connection(url=url, timeout_s=5, network=Network(ca_cert=certificates.ca_cert)).open(None)
        reply, _ = await ask(url, Network(is_insecure=True))
    assert reply.error is None


async def test_a_client_s_certificate(certificates: Certificates) -> None:
    async with keeping_server(tls=certificates.of_server(asks_client=True)) as server:
        url = f"https://127.0.0.1:{server.port}"
        known = Network(
            ca_cert=certificates.ca_cert, client_cert=certificates.client, client_key=certificates.client_key
        )
        reply, _ = await ask(url, known)
        assert reply.error is None
        reply, _ = await ask(url, Network(ca_cert=certificates.ca_cert))
    assert "--client-cert" in (reply.error_message or "")


async def test_metrics_are_read_with_the_same_certificates(certificates: Certificates) -> None:
    async with keeping_server(lambda _, __: _PAGE, tls=certificates.of_server()) as server:
        target = await Connection(
            url=f"https://127.0.0.1:{server.port}", timeout_s=5, network=Network(ca_cert=certificates.ca_cert)
        ).open("m")
        async with MetricsPage(None, target.server.metrics, {}, Network(ca_cert=certificates.ca_cert)) as page:
            sample = await page.read()
        await target.close()
    assert sample is not None
    assert sample.running == 3


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (lambda c: Network(ca_cert="/no/such/file"), "--ca-cert /no/such/file: No such file"),
        (lambda c: Network(ca_cert=c.nothing), "nothing.pem: no certificate in PEM"),
        (lambda c: Network(ca_cert=c.ca_cert, is_insecure=True), "leave out --ca-cert"),
        (lambda c: Network(client_cert="/no/such/file"), "--client-cert /no/such/file: No such file"),
        (lambda c: Network(client_cert=c.client), "--client-key if it has a file of its own"),
        (lambda c: Network(client_cert=c.client, client_key=c.other_key), "do not belong together"),
        (lambda c: Network(client_cert=c.client, client_key=c.nothing), "no certificate in PEM with its key"),
        (lambda c: Network(client_key=c.client_key), "--client-key needs --client-cert"),
        (lambda c: Network(proxy="socks5://user:s3cret@h:1"), "--proxy must be http://HOST:PORT"),
        (lambda c: Network(proxy="h:3128"), "--proxy must be http://HOST:PORT"),
        (lambda c: Network(proxy="http://user:s3cret@h:99999999"), "--proxy must be http://HOST:PORT"),
    ],
)
def test_files_and_proxies_are_checked_before_anything_is_sent(
    certificates: Certificates, network: Callable[[Certificates], Network], says: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        network(certificates).check()
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_worker_processes_get_it_all() -> None:
    network = Network(ca_cert="a", client_cert="b", client_key="c", proxy="http://h:1")
    connection = Connection(url="http://h", timeout_s=1, network=network)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(connection), type=Connection) == connection


async def test_http_where_the_server_speaks_https_and_the_other_way_round(certificates: Certificates) -> None:
    async with keeping_server(tls=certificates.of_server()) as server:
        with pytest.raises(TargetError, match="it speaks https, not http"):
            await Connection(url=f"http://127.0.0.1:{server.port}", timeout_s=5).open(None)
    async with fake_server(Behaviour()) as url:
        with pytest.raises(TargetError, match="it speaks http, not https"):
            await Connection(url=url.replace("http:", "https:"), timeout_s=5).open(None)


async def test_requests_go_through_a_proxy(certificates: Certificates) -> None:
    async with proxy("me:hunter22") as between:
        through = f"http://me:hunter22@127.0.0.1:{between.port}"
        async with keeping_server() as server:
            reply, _ = await ask(f"http://127.0.0.1:{server.port}/v1?x=1", Network(proxy=through))
            assert reply.error is None
            assert b"/v1/chat/completions?x=1 " in server.requests[0][1]
        async with keeping_server(tls=certificates.of_server()) as server:
            reply, _ = await ask(f"https://127.0.0.1:{server.port}", Network(proxy=through, is_insecure=True))
            assert reply.error is None
            assert reply.tls_s > 0
        assert [line.split()[0] for line in between.asked] == ["POST", "CONNECT"]


async def test_what_a_proxy_does_is_not_the_server_s_failure() -> None:
    async with proxy("me:hunter22") as between:
        for scheme in ("http", "https"):
            reply, _ = await ask(
                f"{scheme}://127.0.0.1:1", Network(proxy=f"http://me:wrong123@127.0.0.1:{between.port}")
            )
            assert reply.error == "client_limit"
            assert "a proxy wants credentials" in (reply.error_message or "")
        reply, _ = await ask("https://127.0.0.1:1", Network(proxy=f"http://me:hunter22@127.0.0.1:{between.port}"))
        assert reply.error == "connect"
        assert "the proxy cannot or may not connect: HTTP 502" in (reply.error_message or "")
    reply, _ = await ask("http://127.0.0.1:1", Network(proxy=f"http://127.0.0.1:{between.port}"))
    assert (reply.error, reply.error_message) == ("client_limit", "cannot reach the proxy: Connection refused")


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


async def test_the_environment_s_proxies_by_request(no_proxies: pytest.MonkeyPatch) -> None:
    async with proxy() as between, keeping_server() as server:
        url = f"http://127.0.0.1:{server.port}"
        no_proxies.setenv("ALL_PROXY", f"127.0.0.1:{between.port}")
        for settings, num_asked in ((DIRECT, 0), (Network(proxy="env"), 1)):
            reply, _ = await ask(url, settings)
            assert (reply.error, len(between.asked)) == (None, num_asked)
        no_proxies.setenv("NO_PROXY", "127.0.0.1")
        reply, _ = await ask(url, Network(proxy="env"))
        assert (reply.error, len(between.asked)) == (None, 1)
    no_proxies.setenv("HTTP_PROXY", "socks5://h:1")
    no_proxies.delenv("NO_PROXY")
    with pytest.raises(ConfigurationError, match="HTTP_PROXY must be"):
        await Connection(url=url, timeout_s=5, network=Network(proxy="env")).open("m")


async def test_a_proxy_that_is_not_used_is_told(no_proxies: pytest.MonkeyPatch) -> None:
    no_proxies.setenv("https_proxy", "http://user:s3cret@127.0.0.1:1")
    no_proxies.setenv("no_proxy", "inside.example")
    for host, is_told in (("outside.example", True), ("inside.example", False), ("127.0.0.1", False)):
        target = await Connection(url=f"https://{host}", timeout_s=5).open("m")
        await target.close()
        assert (
            target.warnings
            == ["HTTPS_PROXY is set and not used: requests go straight to the server (see --proxy)"] * is_told
        )
    no_proxies.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    no_proxies.setattr(http_target, "is_this_machine", lambda _: False)
    with pytest.raises(TargetError, match=r"Connection refused \(HTTP_PROXY is set and was not used: --proxy env uses"):
        await Connection(url="http://127.0.0.1:1", timeout_s=5).open(None)
