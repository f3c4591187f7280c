"""The options that say how a server at a URL is reached, and what it is asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from typer import Option

from ...workloads.http.network import Network
from ...workloads.targets.http_connection import Connection
from ...workloads.targets.server_url import ServerUrl, hide_credentials
from ...workloads.targets.wire.names import AUTO, checked_api, meant_api
from ...workloads.targets.wire.vendors import Vendor, vendor_of
from .api_key import KEY_VARIABLE, checked_key, find_api_key
from .extra_body import checked_field, parse_extra_body
from .groups import options_of
from .headers import parse_headers
from .times import time_option

_KEY_HEADERS = frozenset({"authorization", "x-api-key", "api-key"})
"""Of --header: whoever gives one has a key of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectingOptions:
    """How a server at a URL is reached, and what it is asked for."""

    panel: ClassVar[str] = "Target"

    url: Annotated[
        str | None,
        Option(
            "--url",
            "--base-url",
            help="Measure this server instead of our engine. Its path is used as it is; without one, /v1 is added.",
        ),
    ] = None
    model: Annotated[
        str | None,
        Option(
            "--model",
            "-m",
            help="Model to serve, as in abatch serve. Default: tiny; of a simulated device llama-3.1-8b. With --url: "
            "the name to ask the server for. Default: its first. Several with weights, as in a:3,b:1, share the "
            "sessions; each has classes of its own, such as chat@a.",
        ),
    ] = None
    api_key: Annotated[str | None, Option(envvar=KEY_VARIABLE, show_envvar=True, help="Bearer token, with --url.")] = (
        None
    )
    api_key_file: Annotated[
        Path | None, Option(help="File with that token as its only line, which keeps it off the command line.")
    ] = None
    header: Annotated[
        list[str] | None, Option(help="'Name: value' to send with each request, with --url; repeatable.")
    ] = None
    extra_body: Annotated[
        str | None,
        Option(
            help="JSON object to merge into each request, or @FILE with one, with --url. It is saved with the run: no "
            "place for keys."
        ),
    ] = None
    max_tokens_field: Annotated[
        str | None,
        Option(
            help="What the server calls the length of an answer, such as max_completion_tokens, with --url. Default: "
            "found out."
        ),
    ] = None
    insecure: Annotated[bool, Option("--insecure", help="Trust any certificate of the server.")] = False
    ca_cert: Annotated[
        Path | None, Option(help="File of certificates (PEM) to trust besides the system's, such as the server's own.")
    ] = None
    client_cert: Annotated[
        Path | None, Option(help="File with the client's certificate (PEM), and its key unless --client-key has that.")
    ] = None
    client_key: Annotated[Path | None, Option(help="File with the key (PEM) of --client-cert.")] = None
    proxy: Annotated[
        str | None,
        Option(
            help="http://[USER:PASSWORD@]HOST:PORT to send through, or env for what HTTP_PROXY, HTTPS_PROXY, ALL_PROXY "
            "and NO_PROXY say. Default: straight to the server."
        ),
    ] = None
    api: Annotated[
        str,
        Option(
            help="API to send to: chat, completions, responses or messages. auto: the one whose endpoint --url names, "
            "else the first of these that the server has.",
        ),
    ] = AUTO
    timeout_s: Annotated[
        float, time_option("--timeout", least_s=0.001, help="What a request may take. Default: 10m.")
    ] = 600.0

    def connection(self, url: str, *, tells_sessions: bool = True, ignores_eos: bool = True) -> Connection:
        """The settings of a connection to a server.

        Raises:
            ConfigurationError: one of the options is wrong.
        """
        server, network = ServerUrl.parse(url), self._network()
        network.check()
        network.proxy_for(server.base)
        meant_api(checked_api(self.api), server.named_endpoint)
        return Connection(
            url=url,
            api_key=self._key_for(server),
            headers=parse_headers(self.header or ()),
            timeout_s=self.timeout_s,
            tells_sessions=tells_sessions,
            ignores_eos=ignores_eos,
            max_tokens_field=None if self.max_tokens_field is None else checked_field(self.max_tokens_field),
            extra_body=self._extra_body or {},
            network=network,
            api=self.api,
        )

    def vendor_with_key_for(self, server: ServerUrl) -> Vendor | None:
        """Whose variable has the key that the server gets, where the options and ABATCH_API_KEY have none."""
        names = {line.partition(":")[0].strip().lower() for line in self.header or ()}
        vendor = vendor_of(meant_api(self.api, server.named_endpoint))
        is_given = find_api_key(self.api_key, self.api_key_file) is not None
        if is_given or server.base.user or names & _KEY_HEADERS or vendor.key is None:
            return None
        return vendor if vendor.may_have_key(server.base) else None

    def _key_for(self, server: ServerUrl) -> str | None:
        vendor = self.vendor_with_key_for(server)
        if vendor is None or vendor.key is None:
            return find_api_key(self.api_key, self.api_key_file)
        return checked_key(vendor.key, vendor.key_variable)

    def typed(self) -> Self:
        """The same without the key of the environment, which is for all commands and no option of this one."""
        return replace(self, api_key=None) if self.api_key == os.environ.get(KEY_VARIABLE) else self

    def saved_request(self) -> dict[str, Any]:
        """What config.json keeps of what the server was asked for, and how: no secrets."""
        return {
            "extra_body": self._extra_body,
            "max_tokens_field": self.max_tokens_field,
            "insecure": self.insecure,
            "proxy": None if self.proxy is None else hide_credentials(self.proxy),
        }

    def _network(self) -> Network:
        return Network(
            is_insecure=self.insecure,
            ca_cert=_text(self.ca_cert),
            client_cert=_text(self.client_cert),
            client_key=_text(self.client_key),
            proxy=self.proxy,
        )

    @property
    def _extra_body(self) -> dict[str, Any] | None:
        return None if self.extra_body is None else parse_extra_body(self.extra_body)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.expanduser())


_Options = TypeVar("_Options", bound=ConnectingOptions)
_OF_URLS = {
    option.flag: option
    for option in options_of(ConnectingOptions)
    if option.flag not in ("--url", "--model", "--api", "--timeout")
}
OF_A_URL = frozenset(_OF_URLS)
"""Options that mean nothing without a URL."""


def without_connection(options: _Options) -> _Options:
    """The same options with those left out that mean nothing without a URL."""
    return replace(options, **{option.name: option.default for option in _OF_URLS.values()})
