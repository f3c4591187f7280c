"""Whether the Hugging Face hub has what a name says, known within seconds: its libraries retry for minutes first."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from difflib import get_close_matches

from ..errors import ConfigurationError
from ..simulation.model_shape import SHAPES

BUILT_IN = ("tiny", *SHAPES)
"""Names that need no hub."""
_ID = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*", re.ASCII)
_PATIENCE_S = 5.0
_ANY_FILE = "config.json"
"""A file to ask for. A repository that lacks it is there all the same."""


def check_on_hub(name: str, files: Sequence[str], option: str) -> None:
    """See that a name of the hub can be had: it is in the local cache, or the hub has it.

    A hub that cannot be reached is not asked again where the cache has the files.

    Args:
        name: Such as `owner/name`.
        files: One of these is in the cache if anything of it is.
        option: By which it was named.

    Raises:
        ConfigurationError: it cannot be had. `huggingface_hub` is not installed.
    """
    if not _ID.fullmatch(name):
        raise ConfigurationError(f"{option} {name} is no folder, no file, no built-in name and no id of the hub")
    try:
        from huggingface_hub import constants, try_to_load_from_cache
    except ImportError:
        raise ConfigurationError(f"{option} {name}: names of the hub need pip install 'abatch[engine]'") from None
    _silence()
    is_cached = any(isinstance(try_to_load_from_cache(name, file), str) for file in files)
    if constants.is_offline_mode():
        if not is_cached:
            raise ConfigurationError(
                f"{option} {name} is not in the cache of the Hugging Face hub, and HF_HUB_OFFLINE is set{_meant(name)}"
            )
        return
    if (reason := _why_unreachable(name, option)) is None:
        return
    if not is_cached:
        raise ConfigurationError(
            f"{option} {name}: cannot reach the Hugging Face hub ({constants.ENDPOINT}): {reason}{_meant(name)}"
        )
    os.environ["HF_HUB_OFFLINE"] = "1"  # for the processes that load it


def _why_unreachable(name: str, option: str) -> str | None:
    """Why the hub does not answer; None if it does.

    Raises:
        ConfigurationError: it has nothing of that name for us.
    """
    from huggingface_hub import constants, get_hf_file_metadata
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, HFValidationError, RepositoryNotFoundError

    try:
        get_hf_file_metadata(f"{constants.ENDPOINT}/{name}/resolve/main/{_ANY_FILE}", timeout=_PATIENCE_S)
    except EntryNotFoundError:
        return None
    except GatedRepoError:
        raise ConfigurationError(
            f"{option} {name} is gated: ask for access at {constants.ENDPOINT}/{name}, and give your token as HF_TOKEN"
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise ConfigurationError(
            f"{option} {name} is no folder, no file and no built-in name, and not on the Hugging Face hub (a private "
            f"one needs HF_TOKEN){_meant(name)}"
        ) from None
    except Exception as error:  # of whichever HTTP library the hub's client is built on
        return (str(error) or type(error).__name__).splitlines()[0]
    return None


def _silence() -> None:
    """What the hub's client has to say of retries, we say in a line."""
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def _meant(name: str) -> str:
    near = get_close_matches(name.rpartition("/")[2].lower(), BUILT_IN, n=1)
    return f"; did you mean {near[0]}?" if near else ""
