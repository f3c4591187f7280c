"""Noise of an exact number of tokens, where the client has the server's tokenizer."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ...engine.errors import ConfigurationError
from ...engine.models.hub import check_on_hub

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@lru_cache(maxsize=2)
def load_text_tokenizer(name: str) -> Tokenizer:
    """The tokenizer in a folder, in a tokenizer.json, or with a Hugging Face id; needs no torch.

    Raises:
        ConfigurationError: there is none, or `tokenizers` is not installed.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ConfigurationError("--tokenizer needs the package tokenizers: pip install 'abatch[engine]'") from None
    path = Path(name).expanduser()
    file = path / "tokenizer.json" if path.is_dir() else path
    try:
        if file.exists():
            return Tokenizer.from_file(str(file))
        if path.is_dir():
            raise ConfigurationError(f"--tokenizer {name}: this folder has no tokenizer.json")
        check_on_hub(name, ["tokenizer.json"], "--tokenizer")
        return Tokenizer.from_pretrained(name)
    except ConfigurationError:
        raise
    except Exception as error:  # the library raises plain Exception for whatever is wrong
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigurationError(f"--tokenizer {name}: {reason}") from None


def num_tokens(tokenizer: Tokenizer, text: str) -> int:
    """The number of tokens of a text by itself."""
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def exact_text(tokenizer: Tokenizer, text: str, tokens: int) -> str | None:
    """The first `tokens` tokens of a text; None if it has fewer.

    The result ends at a token boundary, so that by itself it has the same tokens.
    """
    ends = [end for _, end in tokenizer.encode(text, add_special_tokens=False).offsets]
    return text[: ends[tokens - 1]] if len(ends) >= tokens else None
