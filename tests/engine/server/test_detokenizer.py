"""Text as it streams."""

from __future__ import annotations

from abatch.engine.models.tiny_tokenizer import tiny_tokenizer
from abatch.engine.models.tokenizer import ChatTokenizer
from abatch.engine.server.detokenizer import IncrementalDetokenizer
from hypothesis import given
from hypothesis import strategies as st

_TOKENIZER = ChatTokenizer(tiny_tokenizer())


def pieces(token_ids: list[int], tokenizer: ChatTokenizer = _TOKENIZER) -> list[str]:
    detokenizer = IncrementalDetokenizer(tokenizer)
    return [*(detokenizer.add(token_id) for token_id in token_ids), detokenizer.flush()]


# Hypothesis draws strings it finds in the code, too: a special token is read as what it says, and is no text then.
@given(st.text(max_size=30).filter(lambda text: "<|" not in text))
def test_text_survives_token_by_token(text: str) -> None:
    parts = pieces(_TOKENIZER.encode(text))
    assert "".join(parts) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in part for part in parts), "half a character was sent"


def test_a_character_comes_whole_with_its_last_byte() -> None:
    assert pieces(_TOKENIZER.encode("a€b")) == ["a", "", "", "€", "b", ""]


def test_real_tokens_of_several_characters(smollm2: object) -> None:
    from transformers import AutoTokenizer

    tokenizer = ChatTokenizer(AutoTokenizer.from_pretrained(smollm2))
    text = "Zwölf Boxkämpfer jagen Viktor 🦊 über den großen Sylter Deich. 東京へ行く\n\n  def f(x):\n    return x"
    parts = pieces(tokenizer.encode(text), tokenizer)
    assert "".join(parts) == text
    assert not any("\ufffd" in part for part in parts)


def test_bytes_that_never_become_a_character_do_not_silence_the_stream() -> None:
    (lead,) = {token for text, token in _TOKENIZER.hf.get_vocab().items() if text == "Ã"}  # byte 0xC3: needs another
    parts = pieces([lead] * 40)
    assert max(len(part) for part in parts[:-1]) == 1
    assert "".join(parts) == "\ufffd" * 40


def test_a_stray_byte_does_not_break_the_character_behind_it() -> None:
    (stray,) = {token for text, token in _TOKENIZER.hf.get_vocab().items() if text == "â"}  # byte 0xE2: needs two more
    assert "".join(pieces([stray, *_TOKENIZER.encode("😀!")])) == "\ufffd😀!"


def test_special_tokens_that_are_kept_show_where_they_were() -> None:
    """As a parser of tool calls needs them. The others stay hidden, and characters cut in two stay whole."""
    tokenizer = tiny_tokenizer()
    chat = ChatTokenizer(tokenizer)
    kept = chat.token_texts(["<|im_start|>", "<tool_call>", "no such token"])
    assert kept == {tokenizer.convert_tokens_to_ids("<|im_start|>"): "<|im_start|>"}
    ids = chat.encode("h\u00e9<|im_start|>[1]<|endoftext|> x<|im_start|><|im_start|>\u00e9")
    detokenizer = IncrementalDetokenizer(chat, kept)
    text = "".join(map(detokenizer.add, ids)) + detokenizer.flush()
    assert text == "h\u00e9<|im_start|>[1] x<|im_start|><|im_start|>\u00e9"
