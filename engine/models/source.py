"""What a model's name means: a hub id, a folder, or a .gguf file. Without torch, so that a mistake shows at once."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from ..config import EngineConfig
from ..errors import ConfigurationError
from ..simulation.model_shape import SHAPES
from .hub import check_on_hub

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def is_built_in(model: str, load_format: str) -> bool:
    """Whether the name is of a built-in shape that is to have random weights. A folder of that name is a folder."""
    return load_format == "dummy" and model in SHAPES and not Path(model).is_dir()


def check_sources(config: EngineConfig) -> None:
    """See that the model and the tokenizer of a real device can be had, before torch is loaded.

    Raises:
        ConfigurationError: one of them cannot. See `pretrained_arguments`.
    """
    _check_source(config.model, ("config.json",), "--model", config.load_format)
    if config.tokenizer is not None:
        _check_source(config.tokenizer, TOKENIZER_FILES, "--tokenizer", config.load_format)


def _check_source(name: str, files: Sequence[str], option: str, load_format: str) -> None:
    if name == "tiny" or is_built_in(name, load_format):
        return
    if "://" in name:
        raise ConfigurationError(f"{option} is a URL: give it as --url, and --model the name of a model")
    pretrained, arguments = pretrained_arguments(name)
    if not arguments and not Path(pretrained).is_dir():
        check_on_hub(pretrained, files, option)


def pretrained_arguments(model: str) -> tuple[str, dict[str, str]]:
    """What `from_pretrained` is called with for a hub id, a folder or a .gguf file.

    Raises:
        ConfigurationError: the name is of a local file or folder that is not there, needs packages that are not, or is
            of a shape without weights.
    """
    path = Path(model).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ConfigurationError(f"the file {path} does not exist")
        if any(importlib.util.find_spec(package) is None for package in ("gguf", "accelerate")):
            raise ConfigurationError("reading a .gguf file needs an extra: pip install 'abatch[gguf]'")
        return str(path.parent), {"gguf_file": path.name}
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ConfigurationError(f"the folder {path} has no config.json, so it is not a model folder")
        return str(path), {}
    if model in SHAPES:
        raise ConfigurationError(
            f"{model} is a shape without weights; give --load-format dummy for random weights, or name a "
            "Hugging Face id, a folder or a .gguf file"
        )
    if path.exists() or model.startswith(("/", "./", "../", "~")):
        raise ConfigurationError(f"{model} is not a model folder or a .gguf file")
    return model, {}
