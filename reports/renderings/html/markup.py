"""HTML put together from parts: whatever is not markup already is cleaned and escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

import msgspec

from ...text import clean

_VOID = frozenset({"meta", "link", "br"})


class Html(str):
    """Text that is markup. Text that came from outside never becomes one unescaped."""

    __slots__ = ()


def element(tag: str, *content: str, **attributes: str | int | None) -> Html:
    """An element. Content that is not `Html` is escaped; attributes always are.

    In names of attributes underscores stand for hyphens, but for one at the end (`class_`). None: no such attribute.
    """
    words = [tag]
    for name, value in attributes.items():
        if value is not None:
            words.append(f'{name.rstrip("_").replace("_", "-")}="{escaped(str(value))}"')
    opening = f"<{' '.join(words)}>"
    return Html(opening if tag in _VOID else f"{opening}{join(content)}</{tag}>")


def cut_left(text: str) -> Html:
    """A name that loses its beginning where there is no room: the ends of runs' names and URLs tell them apart."""
    return element("span", element("bdi", text), class_="cut-left", title=text)


def scrolling(table: Html, label: str) -> Html:
    """A table in a box of its own, which scrolls where the window is narrower."""
    return element("div", table, class_="scroll", tabindex=0, role="region", aria_label=label)


def escaped(text: str) -> str:
    """Text, between tags or in an attribute. Space at its ends, which keeps words apart, stays one."""
    shown = clean(text)
    before, after = text[:1].isspace(), len(text) > 1 and text[-1:].isspace()
    return html.escape(f"{' ' * before}{shown}{' ' * after}")


def join(parts: Iterable[str], between: str = "") -> Html:
    """Parts one after the other, escaped unless they are `Html`."""
    return Html(between.join(part if isinstance(part, Html) else escaped(part) for part in parts))


def inline(tag: str, text: str) -> Html:
    """A style or a script of ours, as it is.

    Raises:
        ValueError: it would end its own element early.
    """
    if f"</{tag}" in text.lower():
        raise ValueError(f"a {tag} with its own end in it")
    return Html(f"<{tag}>\n{text}\n</{tag}>\n")


def embedded_json(identifier: str, content: msgspec.Struct) -> Html:
    """JSON for scripts to read. Nothing in it can end the element, nor begin a comment or another one."""
    text = msgspec.json.encode(_cleaned(msgspec.to_builtins(content))).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Html(f'<script type="application/json" id="{html.escape(identifier)}">{text}</script>\n')


def _cleaned(content: Any) -> Any:
    """Names are drawn on canvases and put into tooltips, by scripts that take them as they are."""
    match content:
        case str():
            return clean(content)
        case list() | tuple():
            return [_cleaned(one) for one in content]
        case dict():
            return {clean(name): _cleaned(value) for name, value in content.items()}
    return content
