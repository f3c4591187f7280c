"""From the text of a rule to the rule. docs/gates.md has the grammar.

rule       = subject comparison bound
subject    = [class "."] metric "." statistic ["/" statistic]
           | [class "."] metric "." "slowdown" "." percentile
           | run value
class      = a word, or any text in quotes: "v1.5".ttft.p99; a quote in it is doubled
comparison = "<=" | ">=" | "<" | ">" | "=="
bound      = number ["%"]
           | duration
           | number "%" "of" ("baseline" | "offered")
           | "baseline" [("+" | "-") (number ["%"] | duration)]
duration   = with units, such as 500ms or 1m30s: see engine/timing/durations.py
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ...engine.errors import ConfigurationError
from ...engine.timing.durations import match_duration
from ..recording.recorder import ALL, METRICS
from ..recording.slowdown import SLOWED
from ..summary.statistic import Statistic, find_statistic
from .rule import AGAINST_BASELINE, BASELINE, COMPARISONS, RUN_VALUES, Bound, Kind, Rule

_SUBJECT = (
    f"a metric ({', '.join(METRICS)}) and a statistic, such as ttft.p99, with a class, such as chat.ttft.p99 or "
    f"'v1.5'.ttft.p99, or one of {', '.join(RUN_VALUES)}"
)
_SLOWDOWN = "slowdown"
MOST_CHARACTERS = 500
"""Of a rule. It is shown with what became of it; the longest that means anything has about a hundred."""
_WORD = re.compile(r"[A-Za-z_][\w-]*")
_QUOTED = re.compile(r"""(["'])((?:(?!\1).|\1\1)*)\1""")
_KEYWORD = re.compile(r"[A-Za-z]\w*")  # no hyphen: baseline-5% is a difference
_STATISTIC = re.compile(r"[A-Za-z]\w*(?:\.\d+)?")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_PERCENT, _TIME = "%", "s"


def parse_rule(text: str) -> Rule:
    """Parse a rule such as `ttft.p99/p50 <= 3`.

    Raises:
        ConfigurationError: the syntax is wrong; the text names the column.
    """
    text = text.strip()
    if len(text) > MOST_CHARACTERS:
        raise ConfigurationError(f"a rule has at most {MOST_CHARACTERS} characters; {text[:30]!r}... has {len(text):,}")
    return _Parser(text).rule()


def parse_rules(texts: Iterable[str]) -> list[Rule]:
    """Parse several.

    Raises:
        ConfigurationError: the syntax of one is wrong.
    """
    return [parse_rule(text) for text in texts]


class _Parser:
    """Reads a rule from left to right, up to `_place`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0

    def rule(self) -> Rule:
        traffic_class = self._quoted_class()
        words = self._dotted_words() if traffic_class is None else [self._word(_SUBJECT)]
        name, name_place = words[-1]
        if traffic_class is None and len(words) == 1 and name in RUN_VALUES:
            comparison, bound = self._comparison_and_bound(_of_run_value(name))
            return Rule(text=self._text, comparison=comparison, bound=bound, run_value=name)
        if name not in METRICS:
            is_metric_meant = self._text.startswith(".", self._place)
            raise self._error(name_place if is_metric_meant else words[0][1], _SUBJECT)
        if not self._take("."):
            raise self._error(self._place, f"a statistic, such as {name}.p99")
        is_slowdown = self._takes_slowdown(name)
        statistic = self._percentile() if is_slowdown else self._statistic()
        divisor = self._statistic() if not is_slowdown and self._take("/") else None
        comparison, bound = self._comparison_and_bound(
            _Subject("a slowdown", Kind.COUNT, is_compared=True) if is_slowdown else _of_latency(statistic, divisor)
        )
        return Rule(
            text=self._text,
            comparison=comparison,
            bound=bound,
            traffic_class=traffic_class or (words[0][0] if len(words) > 1 else ALL),
            metric=name,
            is_slowdown=is_slowdown,
            statistic=statistic,
            divisor=divisor,
        )

    def _quoted_class(self) -> str | None:
        """The class at the start if it is in quotes, and the dot behind it; None if it is not."""
        if not self._text.startswith(('"', "'")):
            return None
        match = _QUOTED.match(self._text)
        if match is None or not match[2]:
            raise self._error(0, "the name of a class in quotes, such as 'v1.5'.ttft.p99")
        self._place = match.end()
        if not self._take("."):
            raise self._error(self._place, "a dot and a metric, such as .ttft.p99")
        return match[2].replace(2 * match[1], match[1])

    def _dotted_words(self) -> list[tuple[str, int]]:
        """A class and a metric, or either of them, or the name of a value; each with its place."""
        first = self._word(_SUBJECT)
        if first[0] in METRICS or first[0] in RUN_VALUES or not self._take("."):
            return [first]
        return [first, self._word(_SUBJECT)]

    def _takes_slowdown(self, metric: str) -> bool:
        """Whether the metric's slowdown is meant; then what follows it is next."""
        place = self._place
        if not self._take_word(_SLOWDOWN):
            return False
        if metric not in SLOWED:
            raise self._error(place, f"a statistic: only {', '.join(SLOWED)} have a slowdown")
        if not self._take("."):
            raise self._error(self._place, f"a percentile, such as {metric}.{_SLOWDOWN}.p99")
        return True

    def _percentile(self) -> Statistic:
        place, statistic = self._place, self._statistic()
        if statistic.share is None:
            raise self._error(place, "a percentile of the slowdown, such as p50 or p99")
        return statistic

    def _statistic(self) -> Statistic:
        match = _STATISTIC.match(self._text, self._place)
        statistic = find_statistic(match[0]) if match else None
        if match is None or statistic is None:
            raise self._error(self._place, "a statistic: a percentile such as p50 or p99.9, mean or max")
        self._place = match.end()
        return statistic

    def _comparison_and_bound(self, subject: _Subject) -> tuple[str, Bound]:
        self._skip_space()
        place = self._place
        comparison, bound = self._comparison(), self._bound(subject)
        if comparison == "==" and bound.of is not None:
            raise self._error(place, "<= or >=: two measurements are never exactly equal")
        return comparison, bound

    def _comparison(self) -> str:
        self._skip_space()
        for symbol in COMPARISONS:
            if self._take(symbol):
                self._skip_space()
                return symbol
        raise self._error(self._place, f"one of {' '.join(COMPARISONS)}")

    def _bound(self, subject: _Subject) -> Bound:
        place = self._place
        if self._take_word(BASELINE):
            self._check_baseline(subject, place)
            bound = self._offset(subject)
        else:
            number, unit, unit_place = self._number_and_unit(
                "a number, or baseline" if subject.is_compared else "a number"
            )
            if unit == _PERCENT and self._take_word("of"):
                bound = Bound(of=self._reference(subject), factor=number / 100)
            else:
                bound = Bound(self._absolute(subject, number, place, unit, unit_place))
        self._skip_space()
        if self._place < len(self._text):
            raise self._error(self._place, "nothing more")
        return bound

    def _offset(self, subject: _Subject) -> Bound:
        """What may follow `baseline`."""
        self._skip_space()
        sign = 1 if self._take("+") else -1 if self._take("-") else 0
        if sign == 0:
            return Bound(of=BASELINE)
        self._skip_space()
        place = self._place
        number, unit, unit_place = self._number_and_unit("a number")
        if unit == _PERCENT and subject.kind is not Kind.SHARE:
            return Bound(of=BASELINE, factor=1 + sign * number / 100)
        return Bound(sign * self._absolute(subject, number, place, unit, unit_place), of=BASELINE)

    def _reference(self, subject: _Subject) -> str:
        self._skip_space()
        place = self._place
        if self._take_word(BASELINE):
            self._check_baseline(subject, place)
            return BASELINE
        if subject.is_offered and (self._take_word("offered_rate") or self._take_word("offered")):
            return "offered_rate"
        raise self._error(place, "baseline or offered" if subject.is_offered else BASELINE)

    def _check_baseline(self, subject: _Subject, place: int) -> None:
        if not subject.is_compared:
            raise self._error(
                place, f"a number: {subject.name} has no interval, so it cannot be compared with a baseline"
            )

    def _absolute(self, subject: _Subject, number: float, place: int, unit: str, unit_place: int) -> float:
        """Milliseconds, a share, or the number itself."""
        if subject.kind is None:
            if unit != _TIME:
                raise self._error(place, f"a time with its unit, such as {number:g}ms")
            return number * 1e3
        if subject.kind is Kind.SHARE:
            if unit not in ("", _PERCENT):
                raise self._error(unit_place, f"no unit after {subject.name} except %")
            if not unit and number > 1:
                raise self._error(place, f"a share between 0 and 1, or {number:g}%")
            return number / 100 if unit else number
        if unit:
            raise self._error(unit_place, f"no unit after {subject.name}")
        return number

    def _number_and_unit(self, expected: str) -> tuple[float, str, int]:
        """A number, `%`, `s` (of a duration, then the number is its seconds) or nothing, and where that is."""
        match = _NUMBER.match(self._text, self._place)
        if match is None:
            raise self._error(self._place, expected)
        duration = match_duration(self._text, self._place)
        self._place = match.end()
        self._skip_space()
        unit_place = self._place
        if duration is not None:
            seconds, self._place = duration
            self._skip_space()
            return float(seconds), _TIME, unit_place
        unit = _PERCENT if self._take(_PERCENT) else ""
        self._skip_space()
        return float(match[0]), unit, unit_place

    def _word(self, expected: str) -> tuple[str, int]:
        place, match = self._place, _WORD.match(self._text, self._place)
        if match is None:
            raise self._error(place, expected)
        self._place = match.end()
        return match[0], place

    def _take(self, symbol: str) -> bool:
        if not self._text.startswith(symbol, self._place):
            return False
        self._place += len(symbol)
        return True

    def _take_word(self, word: str) -> bool:
        match = _KEYWORD.match(self._text, self._place)
        if match is None or match[0] != word:
            return False
        self._place = match.end()
        return True

    def _skip_space(self) -> None:
        while self._text[self._place : self._place + 1].isspace():
            self._place += 1

    def _error(self, place: int, expected: str) -> ConfigurationError:
        return ConfigurationError(f"rule {self._text!r}, column {place + 1}: expected {expected}")


@dataclass(frozen=True, slots=True)
class _Subject:
    """What a bound is for.

    Attributes:
        kind: None: a latency, in milliseconds. COUNT: a bare number, a ratio among them.
        is_compared: It may be compared with a baseline.
        is_offered: It may be compared with the offered rate.
    """

    name: str
    kind: Kind | None
    is_compared: bool
    is_offered: bool = False


def _of_run_value(name: str) -> _Subject:
    return _Subject(name, RUN_VALUES[name].kind, name in AGAINST_BASELINE, name == "achieved_rate")


def _of_latency(statistic: Statistic, divisor: Statistic | None) -> _Subject:
    parts = [part for part in (statistic, divisor) if part is not None]
    name = "a ratio" if divisor else statistic.name
    return _Subject(name, Kind.COUNT if divisor else None, all(part.has_interval for part in parts))
