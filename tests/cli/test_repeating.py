"""The words of the command that repeats a run give the same options again, and hold no secret."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from abatch.cli.options.engine import EngineOptions
from abatch.cli.options.groups import OptionGroup, OptionOfGroup, options_of, with_options, words
from abatch.cli.options.judging import RuleOptions
from abatch.cli.options.repeating import repeating
from abatch.cli.options.report import ReportOptions
from abatch.cli.options.sweep import SweepOptions
from abatch.cli.options.target import TargetOptions
from abatch.cli.options.traffic import TrafficOptions
from abatch.reports.run.command import Command
from hypothesis import given
from hypothesis import strategies as st

_GROUPS: list[type[Any]] = [TargetOptions, TrafficOptions, EngineOptions, ReportOptions, RuleOptions, SweepOptions]
_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
_CHECKED = {"percentiles": st.just("50,95"), "goodput": st.just("ttft:200"), "rare_s": st.floats(0, 1e6)}
"""Options whose group refuses what is no value of theirs."""


def values(option: OptionOfGroup) -> st.SearchStrategy[Any]:
    """Values that the parser takes, by the option's type and bounds."""
    if option.name in _CHECKED:
        return _CHECKED[option.name]
    if option.kind is bool:
        return st.booleans()
    kinds = {kind for kind in get_args(option.kind) or (option.kind,) if kind is not type(None)}
    (kind,) = kinds
    if option.info.parser is not None:  # a time
        return st.floats(1, 1e9)
    least, most = option.info.min, option.info.max
    if kind is int:
        return st.integers(-(10**6) if least is None else int(least), 10**6 if most is None else int(most))
    if kind is float:
        return st.floats(float(-1e9 if least is None else least), float(1e9 if most is None else most))
    if kind is Path:
        return _TEXTS.map(Path)
    return st.lists(_TEXTS, min_size=1, max_size=3) if kind == list[str] else _TEXTS


@st.composite
def groups(draw: st.DrawFn) -> OptionGroup:
    group = draw(st.sampled_from(_GROUPS))
    options = list(options_of(group))
    changed = draw(st.sets(st.sampled_from([option.name for option in options]), max_size=4))
    made: OptionGroup = group(**{option.name: draw(values(option)) for option in options if option.name in changed})
    return made


@cache
def parser(group: type[Any]) -> tuple[Any, list[OptionGroup]]:
    """A command with the options of a group, and where it puts the groups that it got."""
    got: list[OptionGroup] = []

    def take(options: Any) -> None:
        got.append(options)

    take.__annotations__["options"] = group
    one = typer.Typer()
    one.command()(with_options(take))
    return typer.main.get_command(one), got


@given(groups())
def test_options_come_back_from_their_words(group: OptionGroup) -> None:
    command, got = parser(type(group))
    command.main(words(group), standalone_mode=False)
    assert got.pop() == group


def test_what_is_at_its_default_needs_no_word() -> None:
    assert [words(group()) for group in _GROUPS] == [[]] * len(_GROUPS)


def test_whole_numbers_have_no_point() -> None:
    assert words(TrafficOptions(duration_s=60.0, warmup_s=0.25)) == ["--duration", "60", "--warmup", "0.25"]


@pytest.mark.parametrize(
    ("options", "shown", "secrets"),
    [
        ({"api_key": "hunter2"}, [], ["--api-key"]),
        ({"api_key_file": Path("key.txt")}, ["--api-key-file", "key.txt"], []),
        ({"header": ["X-Team: hunter2", "Y:hunter2"]}, [], ["--header X-Team", "--header Y"]),
        ({"proxy": "http://user:hunter2@proxy:1"}, ["--proxy", "http://proxy:1"], ["--proxy"]),
        ({"proxy": "env"}, ["--proxy", "env"], []),
        ({"metrics_url": "http://m:1/x?key=hunter2"}, ["--metrics-url", "http://m:1/x"], ["--metrics-url"]),
    ],
)
def test_secrets_are_left_out_and_named(options: dict[str, Any], shown: list[str], secrets: list[str]) -> None:
    command = repeating("bench", TargetOptions(url="http://a:1", **options))
    assert command == Command(words=("bench", "--url", "http://a:1", *shown), secrets=tuple(secrets))


def test_so_are_those_of_the_url() -> None:
    command = repeating("bench", TargetOptions(url="http://user:hunter2@a:1/v1?api-version=1"))
    assert command == Command(words=("bench", "--url", "http://a:1/v1"), secrets=("--url",))


def test_without_a_url_a_key_of_the_environment_is_no_part_of_it() -> None:
    assert repeating("bench", TargetOptions(api_key="hunter2", model="tiny")).words == ("bench", "--model", "tiny")


def test_a_file_of_fields_is_replaced_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text('{ "top_k": 1 }\n')
    command = repeating("bench", TargetOptions(url="http://a:1", extra_body=f"@{tmp_path / 'body.json'}"))
    assert command.words[-2:] == ("--extra-body", '{"top_k":1}')


def test_it_can_be_pasted_into_a_shell() -> None:
    assert str(Command(words=("bench", "--require", "ttft.p99 < 1s"))) == "abatch bench --require 'ttft.p99 < 1s'"
