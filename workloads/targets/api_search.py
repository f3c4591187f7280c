"""Which API a server has, found by asking it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

from ..http.faults import BAD_RESPONSE
from .redirects import REDIRECT
from .refused_fields import Accepted
from .target import Reply
from .wire.api import RequestSettings
from .wire.apis import APIS
from .wire.names import CHAT

_CHAT = APIS[CHAT].path
_NOT_THERE = ("http_404", "http_405", "http_501")
_NO_ANSWER = (*_NOT_THERE, BAD_RESPONSE, REDIRECT)
"""Where a server may send anybody who asks for something that it does not have."""
_WITHOUT_TEMPLATE = re.compile(r"chat.?template|template not found", re.IGNORECASE)
"""In an error: a base model is no chat model, which vLLM, SGLang, TGI and our own server say with several statuses."""


async def find_api(accept: Callable[[RequestSettings], Awaitable[Accepted]], settings: RequestSettings) -> Accepted:
    """Ask with one API after the other for as long as the server does not have it.

    Args:
        accept: Makes a small request with these settings, without the fields that the server refuses.
        settings: To begin with.

    Returns:
        What came of the first that the server has, which the settings name. If it has none: what came of the first,
        with all that were tried in its message.
    """
    first: Accepted | None = None
    for name, api in APIS.items():
        accepted = await accept(replace(settings, api=name))
        if first is None:
            first = accepted
            if accepted.reply.error not in _NOT_THERE and not _has_no_template(accepted.reply):
                return accepted
        elif accepted.reply.error not in _NO_ANSWER and not _has_no_template(accepted.reply):
            lacks = "the model has no chat template" if _has_no_template(first.reply) else f"the server has no {_CHAT}"
            note = f"{lacks}: {api.path} is used (--api)"
            return replace(accepted, notes=[note, *accepted.notes])
    assert first is not None
    tried = ", ".join(api.path for api in APIS.values())
    first.reply.fail(first.reply.error or "", f"{first.reply.error_message} (tried {tried})")
    return replace(first, settings=settings)


def _has_no_template(reply: Reply) -> bool:
    return reply.error is not None and _WITHOUT_TEMPLATE.search(reply.error_message or "") is not None
