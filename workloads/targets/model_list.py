"""Lists of models, as servers of all kinds give them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import aiohttp
import msgspec

from ..http.body import read_body, read_error_body
from ..http.faults import BAD_RESPONSE, MALFORMED, RefusedError
from ..http.limits import MESSAGE_CHARS, MODEL_LIST_BYTES, MODEL_NAME_CHARS
from .patience import retry_after_s
from .redirects import REDIRECT, redirect_in_words, redirect_of
from .server_url import ServerUrl, hide_credentials
from .unreachable import TargetError, failure_of
from .wire.failures import error_message

_LISTS = ("data", "models")
"""Where they are: OpenAI's and everybody's; Ollama's own, which llama.cpp's server has beside the other."""
_NAMES = ("id", "model", "name")
_MOST_NAMES = 5
_MOST_NAME_CHARS = 100


class NoListError(TargetError):
    """A server that was asked for its models gave none. `error`: the class of the failure."""

    def __init__(self, message: str, error: str, reason: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.error, self.reason, self.retry_after_s = error, reason or message, retry_after_s


async def first_model(http: aiohttp.ClientSession, server: ServerUrl, timeout_s: float) -> str:
    """The name of the first model of a server.

    Raises:
        NoListError: the server cannot be reached, or lists none.
    """
    url, names = hide_credentials(str(server.models)), await listed_models(http, server, timeout_s)
    if not names:
        raise NoListError(f"{url} lists no model; name one with --model", "empty")
    if len(names[0]) > MODEL_NAME_CHARS:
        raise NoListError(
            f"{url} lists a model whose name has {len(names[0]):,} characters; name one with --model", "too_long"
        )
    return names[0]


async def listed_models(http: aiohttp.ClientSession, server: ServerUrl, timeout_s: float) -> Sequence[str]:
    """The names of the models that a server lists, in its order.

    Raises:
        NoListError: the server cannot be reached, or has no list.
    """
    url = hide_credentials(str(server.models))
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with http.get(server.models, timeout=timeout, allow_redirects=False) as response:
            if (location := redirect_of(response)) is not None:
                raise NoListError(f"{url}: {redirect_in_words(response, location)}", REDIRECT)
            if response.status != 200:
                said = error_message(await read_error_body(response))[:MESSAGE_CHARS]
                advice = _advice(server, response.status)
                raise NoListError(
                    f"{url} returned {response.status}: {said}; {advice} (--model NAME skips this request)",
                    f"http_{response.status}",
                    f"HTTP {response.status}: {said}",
                    retry_after_s(response.headers),
                )
            return model_names(await read_body(response, MODEL_LIST_BYTES))
    except (aiohttp.ClientError, OSError) as error:
        kind, why = failure_of(error, timeout_s)
        told = f"no list of models within {timeout_s:g} s (--timeout)" if kind == "timeout" else why
        raise NoListError(f"cannot reach {server.shown}: {told}", kind, why) from error
    except (RefusedError, *MALFORMED) as error:
        raise NoListError(
            f"{url} returned no OpenAI-compatible list of models: {error} (--model NAME skips this request)",
            BAD_RESPONSE,
        ) from error


def is_listed(model: str, names: Collection[str]) -> bool:
    """Whether a model goes by one of these names. Ollama's tag `latest` may be left out."""
    return model in names or f"{model}:latest" in names


def nearest_names(model: str, names: Sequence[str]) -> str:
    """A few of the names a server has, those first that look like this one."""
    lower = {name.lower(): name for name in reversed(names)}
    near = [lower[name] for name in get_close_matches(model.lower(), lower, n=_MOST_NAMES, cutoff=0.4)]
    shown = list(dict.fromkeys([*near, *names]))[:_MOST_NAMES]
    more = f" and {len(names) - len(shown):,} more" if len(names) > len(shown) else ""
    return ", ".join(name[:_MOST_NAME_CHARS] for name in shown) + more


def _advice(server: ServerUrl, status: int) -> str:
    """What to try where the server has no list of models."""
    if status in (404, 405) and not server.has_version:
        return f"if its API lies below /v1, give --url {server.shown}/v1"
    return "is it an OpenAI-compatible server, and is --api-key right?"


def model_names(body: bytes) -> Sequence[str]:
    """The names in a list of models, in its order. Nothing else in it matters, whatever it is.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: it is no such list.
    """
    answer = msgspec.json.decode(body)
    if isinstance(answer, Mapping):
        lists = [answer[key] for key in _LISTS if key in answer]
        # Go writes an empty list as null: Ollama does, as long as it has no model.
        found = next((value for value in lists if isinstance(value, list)), [] if None in lists else None)
    else:
        found = answer
    if not isinstance(found, list):
        raise msgspec.ValidationError("there is no list `data` in it")
    names = [name for model in found if (name := _name(model))]
    if found and not names:
        raise msgspec.ValidationError("none of its models has an `id`")
    return names


def _name(model: Any) -> str | None:
    if isinstance(model, str):
        return model
    if not isinstance(model, Mapping):
        return None
    return next((name for key in _NAMES if isinstance(name := model.get(key), str) and name), None)
