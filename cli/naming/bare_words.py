"""Words of a command line that belong to no option: a server, a model, or a slip of the keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from typer import Context
from yarl import URL

from ...engine.errors import ConfigurationError
from ...workloads.presets.catalog import WORKLOADS
from ...workloads.targets.server_url import hide_credentials, with_scheme
from ..options.compared import name_and_url
from ..options.named_target import is_target

_ADDRESS = re.compile(
    r"""
    [a-zA-Z][a-zA-Z0-9+.-]*://.*            # any scheme: a wrong one is told as that
    | ([\w.-]+|\[[0-9a-fA-F:.]+\])?:\d{1,5}([/?].*)?  # HOST:PORT, :PORT
    | \d{2,5}                               # PORT
    | (localhost|\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:.]+\])([/?].*)?
    | [\w-]+(\.[\w-]+)*\.[a-zA-Z]{2,}/.*    # a name with dots before its path; on the hub, none of an owner has one
    """,
    re.VERBOSE | re.DOTALL,
)
_MODEL_FILES = (".gguf", ".json")


@dataclass(frozen=True, slots=True)
class BareWords:
    """What the bare words of a command name."""

    command: str
    urls: Sequence[str] = ()
    models: Sequence[str] = ()


NO_WORDS = BareWords("")


def read_bare_words(context: Context, words: Iterable[str] | None) -> BareWords:
    """Tell servers from models.

    Args:
        context: Of the command whose words these are.
        words: As they were typed.

    Raises:
        ConfigurationError: one of them is neither.
    """
    urls, models = [], []
    for word in words or ():
        if is_target(word) or is_address(word):
            urls.append(word)
        else:
            models.append(_checked(context, word))
    return BareWords(context.info_name or "", urls, models)


def is_address(word: str) -> bool:
    """Whether a word can only be meant as a server: a URL, or one without its scheme."""
    return _ADDRESS.fullmatch(word) is not None and not _exists(word)


def is_named_address(word: str) -> bool:
    """The same of a word that may give the server a name, as in `new=http://127.0.0.1:8000`."""
    return not _exists(word) and is_address(name_and_url(word)[1])


def one_model(bare: BareWords, model: str | None) -> str | None:
    """The model that is named by a bare word or by --model.

    Raises:
        ConfigurationError: two are named.
    """
    named = list(dict.fromkeys([*bare.models, *([] if model is None else [model])]))
    if len(named) > 1:
        raise ConfigurationError(f"{bare.command} takes one model, and {' and '.join(named)} are named: give one")
    return named[0] if named else None


def model_to_serve(bare: BareWords, model: str | None) -> str | None:
    """The model that `abatch serve` is to serve.

    Raises:
        ConfigurationError: a server is named, or a second model.
    """
    for url in bare.urls:
        host, port = URL(with_scheme(url)).host, URL(with_scheme(url)).port
        raise ConfigurationError(
            f"{hide_credentials(url)} is no model: abatch serve takes --host {host} --port {port} to listen there, and "
            "abatch bench takes the URL of a server to measure"
        )
    return one_model(bare, model)


def only_servers(bare: BareWords) -> BareWords:
    """The same, of a command that measures nothing but servers.

    Raises:
        ConfigurationError: something else is named.
    """
    for word in bare.models:
        raise ConfigurationError(
            f"{word} is no URL: {bare.command} takes that of a server, such as http://127.0.0.1:8000"
        )
    return bare


def one_url(bare: BareWords, url: str | None) -> str | None:
    """The server that is named by a bare word or by --url.

    Raises:
        ConfigurationError: two are named.
    """
    named = list(dict.fromkeys([*bare.urls, *([] if url is None else [url])]))
    if len({with_scheme(one) for one in named}) > 1:
        options = " ".join(f"--url {hide_credentials(one)}" for one in named)
        raise ConfigurationError(
            f"{bare.command} measures one server: give one URL (abatch compare {options} measures both in turns)"
        )
    return named[0] if named else None


def _checked(context: Context, word: str) -> str:
    """A word that can be the name of a model."""
    if word in getattr(context.parent and context.parent.command, "commands", ()):
        raise ConfigurationError(f"{word} is a command of its own: write abatch {word}, without {context.info_name}")
    if word in WORKLOADS:
        raise ConfigurationError(f"{word} is a workload: write --workload {word}")
    path = Path(word)
    if (path / "results.jsonl").is_file():
        raise ConfigurationError(f"{word} is a saved run: abatch report {word} shows it, abatch gate {word} judges it")
    if path.is_file() and path.suffix not in _MODEL_FILES:
        raise ConfigurationError(f"{word} is a file, and no model (--trace {word} replays recorded traffic)")
    return word


def _exists(word: str) -> bool:
    try:
        return Path(word).exists()
    except OSError:  # too long for a path
        return False
