"""Prompts of exact lengths, with the server's tokenizer."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from abatch.engine.errors import ConfigurationError
from abatch.workloads.targets.exact_text import load_text_tokenizer, num_tokens
from abatch.workloads.targets.prompts import PromptSizer
from tokenizers import Tokenizer, models, pre_tokenizers, trainers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small byte-level BPE: words of one to several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(["the people of the other world would have been there for the time"] * 5, trainer)
    path = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(str(path / "tokenizer.json"))
    return path


async def _measured(folder: Path, *, has_usage: bool = True) -> PromptSizer:
    """The sizer for a server whose template adds 7 tokens."""
    tokenizer = load_text_tokenizer(str(folder))

    async def count(text: str) -> int | None:
        return num_tokens(tokenizer, text) + 7 if has_usage else None

    return await PromptSizer.measure(count, str(folder))


async def test_a_text_has_the_tokens_that_were_asked_for(folder: Path) -> None:
    sizer, tokenizer = await _measured(folder), load_text_tokenizer(str(folder))
    assert sizer.overhead_tokens == 7
    lengths = [*range(1, 40), 500, 3001]
    assert [num_tokens(tokenizer, sizer.text(Random(tokens), tokens)) for tokens in lengths] == lengths


async def test_a_shorter_text_is_the_beginning_of_a_longer_one(folder: Path) -> None:
    """As blocks of a trace must be, of which a last one is cut short."""
    sizer = await _measured(folder)
    whole = sizer.text_between(Random("block"), 512, 1024)
    for end in (530, 700, 1023):
        assert whole.startswith(sizer.text_between(Random("block"), 512, end))


async def test_the_same_seed_is_the_same_text(folder: Path) -> None:
    sizer = await _measured(folder)
    assert sizer.text(Random(3), 100) == sizer.text(Random(3), 100) != sizer.text(Random(4), 100)


async def test_without_usage_only_the_template_is_a_guess(folder: Path) -> None:
    sizer, tokenizer = await _measured(folder, has_usage=False), load_text_tokenizer(str(folder))
    assert not sizer.is_measured
    assert sizer.overhead_tokens == 0
    assert num_tokens(tokenizer, sizer.text(Random(0), 50)) == 50


def test_what_is_no_tokenizer_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"this folder has no tokenizer\.json"):
        load_text_tokenizer(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ConfigurationError, match="--tokenizer"):
        load_text_tokenizer(str(tmp_path))
