"""The script, style and library that every HTML report carries."""

from __future__ import annotations

import hashlib
import re
from importlib import resources

import pytest
from abatch.reports.renderings.html import assets
from abatch.reports.renderings.html.page import SCRIPT, render_html
from support.html_pages import made_run
from support.results import make_result


@pytest.mark.parametrize(
    ("name", "checksum"),
    [
        ("uPlot.iife.min.js", "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"),
        ("uPlot.min.css", "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"),
        ("uPlot.LICENSE", "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd"),
    ],
)
def test_the_library_is_as_it_was_published(name: str, checksum: str) -> None:
    assert hashlib.sha256(resources.files(assets).joinpath(name).read_bytes()).hexdigest() == checksum


def test_dark_colours_are_the_same_by_preference_and_by_button() -> None:
    style = resources.files(assets).joinpath("report.css").read_text()
    blocks = re.findall(r"color-scheme: dark;(.*?)\}", style, re.DOTALL)
    assert len(blocks) == 2
    assert blocks[0].split() == blocks[1].split()
    light = set(re.findall(r"(--[\w-]+):", style[: style.index("@media")]))
    assert light == set(re.findall(r"(--[\w-]+):", blocks[0]))


SCRIPT_FOLDER = resources.files(assets).joinpath("script")


def test_the_script_names_only_colours_that_there_are() -> None:
    style = resources.files(assets).joinpath("report.css").read_text()
    script = "".join(SCRIPT_FOLDER.joinpath(f"{name}.js").read_text() for name in SCRIPT)
    found = re.findall(r'colour\("([\w-]+)"\)', script)
    assert len(found) > 5
    for name in found:
        assert f"--{name}:" in style, name


def test_the_script_is_one_strict_closure_of_all_its_files() -> None:
    page = render_html([made_run([make_result()])])
    assert sorted(SCRIPT) == sorted(path.name[:-3] for path in SCRIPT_FOLDER.iterdir() if path.name.endswith(".js"))
    script = page[page.rindex("<script>\n") :]
    assert script.startswith('<script>\n"use strict";\n(() => {\n')
    assert script.partition("</script>")[0].endswith("})();\n")


def test_each_file_of_the_script_uses_itself_and_those_before_it() -> None:
    """They share one scope, in which functions are there before they are declared: nothing else would tell."""
    later: set[str] = set()
    for name in reversed(SCRIPT):
        text = SCRIPT_FOLDER.joinpath(f"{name}.js").read_text()
        own = re.findall(r"^(?:const|let|function) (\w+)", text, re.MULTILINE)
        assert own
        assert not later.intersection(own), "two things of one name"
        code = re.sub(r"//.*|\"[^\"]*\"", "", text)
        used = {word for word in later if re.search(rf"(?<![\w.$]){word}\b(?!:)", code)}
        assert not used, f"{name}.js uses {used} of later files"
        later.update(own)
