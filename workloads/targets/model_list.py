"""Lists of models, as servers of all kinds give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import msgspec

from ..http.body import read_body, read_error_body
from ..http.faults import MALFORMED, RefusedError
from ..http.limits import MESSAGE_CHARS, MODEL_LIST_BYTES, MODEL_NAME_CHARS
from .redirects import redirect_in_words, redirect_of
from .server_url import ServerUrl, hide_credentials
from .unreachable import TargetError, failure_of
from .wire.failures import error_message

_TIMEOUT_S = 30.0
_LISTS = ("data", "models")
"""Where they are: OpenAI's and everybody's; Ollama's own, which llama.cpp's server has beside the other."""
_NAMES = ("id", "model", "name")


async def first_model(http: aiohttp.ClientSession, server: ServerUrl) -> str:
    """The name of the first model of a server.

    Raises:
        TargetError: the server cannot be reached, or lists none.
    """
    url = hide_credentials(str(server.models))
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    try:
        async with http.get(server.models, timeout=timeout, allow_redirects=False) as response:
            if (location := redirect_of(response)) is not None:
                raise TargetError(f"{url}: {redirect_in_words(response, location)}")
            if response.status != 200:
                said = error_message(await read_error_body(response))[:MESSAGE_CHARS]
                advice = _advice(server, response.status)
                raise TargetError(
                    f"{url} returned {response.status}: {said}; {advice} (--model NAME skips this request)"
                )
            names = model_names(await read_body(response, MODEL_LIST_BYTES))
    except (aiohttp.ClientError, OSError) as error:
        kind, why = failure_of(error, _TIMEOUT_S)
        why = f"no list of models within {_TIMEOUT_S:g} s" if kind == "timeout" else why
        raise TargetError(f"cannot reach {server.shown}: {why}") from error
    except (RefusedError, *MALFORMED) as error:
        raise TargetError(
            f"{url} returned no OpenAI-compatible list of models: {error} (--model NAME skips this request)"
        ) from error
    if not names:
        raise TargetError(f"{url} lists no model; name one with --model")
    if len(names[0]) > MODEL_NAME_CHARS:
        raise TargetError(f"{url} lists a model whose name has {len(names[0]):,} characters; name one with --model")
    return names[0]


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
