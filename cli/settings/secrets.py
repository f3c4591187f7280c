"""No secrets in files of settings, which are committed and shared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ...engine.errors import ConfigurationError

_SECRET_OPTIONS = frozenset({"api-key"})
_SECRET_HEADERS = re.compile(r"\s*(authorization|proxy-authorization|cookie|(x-)?api-key)\s*:", re.IGNORECASE)


def refuse_secrets(table: Mapping[str, Any], where: str) -> None:
    """See that no value of a table, or of one within it, is a key or a password.

    Raises:
        ConfigurationError: one is. It says where, and nothing of the value.
    """
    for name, value in table.items():
        if isinstance(value, dict):
            refuse_secrets(value, f"{where} {name}")
        for text in value if isinstance(value, list) else [value]:
            is_secret = name in _SECRET_OPTIONS or _SECRET_HEADERS.match(str(text)) or _has_password(str(text))
            if is_secret and not isinstance(value, dict):
                raise ConfigurationError(
                    f"{where} {name} is a secret, which belongs in no file of settings: name a file with api-key-file, "
                    "or set ABATCH_API_KEY"
                )


def _has_password(text: str) -> bool:
    if "@" not in text or "//" not in text:
        return False
    try:
        return bool(urlsplit(text).password)
    except ValueError:
        return True  # half of a password may be why it is no URL
