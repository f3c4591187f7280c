"""What the environment of other clients says about a server: where it is, and which key it gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from typer import Context

from ...workloads.targets.server_url import ServerUrl, hide_credentials
from ...workloads.targets.wire.vendors import vendor_of
from ..options.applies import INAPPLICABLE
from ..options.compared import named_urls
from ..options.connecting import ConnectingOptions
from ..options.engine import EngineOptions
from ..options.groups import given
from ..options.named_target import with_named_target
from ..options.situations import Situation
from ..options.target import TargetOptions
from .bare_words import BareWords
from .target import Say


def with_server_of_environment(
    context: Context, target: TargetOptions, engine: EngineOptions, bare: BareWords, say: Say
) -> TargetOptions:
    """The same options with the server of OPENAI_BASE_URL, or ANTHROPIC_BASE_URL for `--api messages`.

    It counts where nothing else is named: no URL, no model without an option, and no option of our own engine. A
    command that repeats another has no environment.
    """
    url = vendor_of(target.api).url
    is_named = target.url is not None or bool(bare.urls or bare.models)
    is_ours = not INAPPLICABLE[Situation.SERVER_AT_URL].isdisjoint(given(engine, target))
    if url is None or is_named or is_ours or context.auto_envvar_prefix is None:
        return target
    say(f"{vendor_of(target.api).url_variable} names the server: {hide_credentials(url)}")
    return replace(target, url=url)


def tell_key(options: ConnectingOptions, say: Say) -> None:
    """Say which variable the key comes from that a server gets, where it is one of other clients'.

    Raises:
        ConfigurationError: the URL is none, or the key can be none.
    """
    if options.url is None:
        return
    server = ServerUrl.parse(options.url)
    vendor = options.vendor_with_key_for(server)
    if vendor is not None:
        say(f"{vendor.key_variable} is sent to {server.shown}")


def tell_keys(urls: Sequence[str], options: TargetOptions, say: Say) -> None:
    """The same of each server that is compared. `urls`: as they were given.

    Raises:
        ConfigurationError: one is no URL, or two have the same name.
    """
    for url in named_urls(urls).values():
        tell_key(with_named_target(replace(options, url=url)), say)
