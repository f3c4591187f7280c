"""Which server or model is measured, from whatever the user has named."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from ...engine.errors import ConfigurationError
from ...workloads.targets.patience import silently
from ...workloads.targets.server_url import hide_credentials, with_scheme
from ..options.applies import refuse
from ..options.compared import name_and_url
from ..options.connecting import ConnectingOptions
from ..options.groups import given
from ..options.named_target import is_target, with_named_target
from ..options.situations import Situation
from ..options.target import TargetOptions
from ..settings.file import FILE_NAME, current_settings
from .bare_words import NO_WORDS, BareWords, is_named_address, one_model, one_url

_ONE_WORD = re.compile(r"(?!localhost$)[A-Za-z_][\w-]*")
_Options = TypeVar("_Options", bound=ConnectingOptions)
Say = Callable[[str], object]


def find_target(target: _Options, bare: BareWords = NO_WORDS, say: Say = silently) -> _Options:
    """The same options with the server and the model that are meant.

    Args:
        target: As the options say it.
        bare: What is named without an option.
        say: Is told each guess, as one line for a person.

    Raises:
        ConfigurationError: two servers or two models are named.
    """
    target = replace(target, url=one_url(bare, target.url), model=one_model(bare, target.model))
    target = with_named_target(target)
    if target.url is not None:
        target = replace(target, url=meant_url(target.url, "--url", say))
    if isinstance(target, TargetOptions) and target.metrics_url is not None:
        target = replace(target, metrics_url=meant_url(target.metrics_url, "--metrics-url", say))
    if target.url is not None and not _has_tls(target):
        refuse(Situation.NO_TLS, given(target))
    return target


def _has_tls(target: ConnectingOptions) -> bool:
    """Whether a certificate is shown or looked at anywhere."""
    metrics_url = target.metrics_url if isinstance(target, TargetOptions) else None
    urls = [url for url in (target.url, metrics_url, target.proxy) if url is not None]
    return any(not url.lower().startswith("http://") for url in urls)


def find_compared(
    urls: Sequence[str] | None, words: Sequence[str] | None, say: Say
) -> tuple[Sequence[str], Sequence[str]]:
    """The servers and the saved runs that are to be compared.

    Args:
        urls: Of --url, each as `URL` or `NAME=URL`.
        words: Named without an option.
        say: Is told each guess, as one line for a person.

    Returns:
        URLs, each with a scheme, or names of targets; and what is left of the words: folders.
    """
    servers = [*(urls or ()), *(word for word in words or () if _is_server(word))]
    found = []
    for text in servers:
        name, url = name_and_url(text)
        url = url if is_target(url) else meant_url(url, "--url", say)
        found.append(f"{name}={url}" if name else url)
    return found, [word for word in words or () if not _is_server(word)]


def _is_server(word: str) -> bool:
    return is_named_address(word) or is_target(name_and_url(word)[1])


def meant_url(url: str, option: str, say: Say) -> str:
    """The URL with its scheme, and what was made of it is said.

    Raises:
        ConfigurationError: it is a single word, which may be meant as the name of a target, and is none.
    """
    if _ONE_WORD.fullmatch(url):
        raise ConfigurationError(f"{option} {url} is no URL, and {_targets_in_words()}")
    meant = with_scheme(url)
    if meant != url.strip():
        say(f"{option} {hide_credentials(url)} is taken as {hide_credentials(meant)}")
    return meant


def _targets_in_words() -> str:
    settings = current_settings()
    if settings.targets:
        return f"{settings.file} has no target of that name: it has {', '.join(settings.targets)}"
    return f"no target of {settings.file or FILE_NAME}; a server is named as in http://127.0.0.1:8000"
