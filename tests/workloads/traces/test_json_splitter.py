"""Lists are cut into the same elements wherever the pieces they arrive in end."""

from __future__ import annotations

import json

import pytest
from abatch.workloads.traces.parsing.json_splitter import JsonSplitter
from hypothesis import given
from hypothesis import strategies as st

_TEXT = st.text(alphabet=st.sampled_from('ab"\\{}[],: \n\u00e9'), max_size=8)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


def split(text: bytes, piece: int, *, is_list: bool) -> list[bytes]:
    splitter = JsonSplitter(is_list=is_list)
    values = [value for start in range(0, len(text), piece) for value in splitter.feed(text[start : start + piece])]
    splitter.finish()
    return values


@given(values=st.lists(_VALUES, max_size=5), piece=st.integers(1, 9), indent=st.sampled_from([None, 1]))
def test_a_list_comes_apart_into_its_elements(values: list[object], piece: int, indent: int | None) -> None:
    text = f" {json.dumps(values, indent=indent, ensure_ascii=False)}\n".encode()
    assert [json.loads(value) for value in split(text, piece, is_list=True)] == values


@given(values=st.lists(st.dictionaries(_TEXT, _VALUES, max_size=3), max_size=4), piece=st.integers(1, 9))
def test_objects_after_each_other_come_apart(values: list[object], piece: int) -> None:
    text = "\n".join(json.dumps(value, indent=1) for value in values).encode()
    assert [json.loads(value) for value in split(text, piece, is_list=False)] == values


@pytest.mark.parametrize("piece", [1, 2, 100])
def test_a_string_that_ends_in_a_backslash_ends(piece: int) -> None:
    assert split(b'["\\\\","]"]', piece, is_list=True) == [b'"\\\\"', b'"]"']


def test_an_element_that_is_lacking_is_one() -> None:
    assert split(b"[1,]", 4, is_list=True) == [b"1", b""]
    assert split(b"[]", 4, is_list=True) == []


@pytest.mark.parametrize("text", [b"[1,2", b'["a', b"[1] 2", b"[1][2]", b"[1]]", b"[1],"])
@pytest.mark.parametrize("piece", [1, 100])
def test_what_is_no_list_is_refused(text: bytes, piece: int) -> None:
    with pytest.raises(ValueError, match=r"value|an unmatched closing bracket"):
        split(text, piece, is_list=True)


@pytest.mark.parametrize("text", [b'{"a": 1', b"{} x", b"{},{}", b"{}}"])
def test_what_are_no_objects_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"value|an unmatched closing bracket"):
        split(text, 100, is_list=False)


def test_elements_are_given_as_soon_as_they_end() -> None:
    splitter = JsonSplitter(is_list=True)
    assert list(splitter.feed(b'[{"a": 1}, {"b')) == [b'{"a": 1}']
    assert splitter.num_pending_bytes < 8
    broken = splitter.feed(b'": 2}, 3] ]')
    assert [next(broken), next(broken)] == [b'{"b": 2}', b"3"]
    with pytest.raises(ValueError, match="an unmatched closing bracket"):
        next(broken)
