"""The command that repeats what was done, made of its options. No secret is in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from ...reports.run.command import Command
from ...reports.text import encoded_json
from ...workloads.targets.server_url import hide_credentials
from .compared import name_and_url
from .connecting import ConnectingOptions, without_connection
from .extra_body import parse_extra_body
from .groups import OptionGroup, changed

_ADDRESSES = ("--url", "--metrics-url", "--proxy")
"""Their users, passwords and queries are left out."""


def repeating(name: str, *groups: OptionGroup, further: Iterable[str] = ()) -> Command:
    """The command `name` with the options of these groups that differ from their default, and `further` words."""
    words, secrets = [name], []
    for group in groups:
        if isinstance(group, ConnectingOptions):
            group = _lasting(group)
        for option, value in changed(group):
            if option.flag == "--api-key":
                secrets.append(option.flag)
            elif option.flag == "--header":
                secrets += [f"{option.flag} {header.partition(':')[0].strip()}" for header in value]
            elif option.flag in _ADDRESSES:
                for one in value if isinstance(value, list) else [value]:
                    name_of_server, url = name_and_url(one)
                    shown = hide_credentials(url)
                    words += [option.flag, f"{name_of_server}={shown}" if name_of_server else shown]
                    secrets += [option.flag] if shown != url else []
            else:
                words += option.words(value)
    return Command(words=(*words, *further), secrets=tuple(dict.fromkeys(secrets)))


def _lasting(options: Any) -> Any:
    """The options as they mean the same later: a file is replaced by its content."""
    if options.extra_body is not None and options.extra_body.startswith("@"):
        body = msgspec.json.format(encoded_json(parse_extra_body(options.extra_body)), indent=-1)
        options = replace(options, extra_body=body.decode())
    return without_connection(options) if options.url is None else options
