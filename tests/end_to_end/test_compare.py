"""Comparing, as a user does it: modes, servers, saved runs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from support.cli import abatch
from support.fixed_run import write_fixed_run
from support.servers import null_server

_ONE_TURN = ("--workload", "chat-short", "--turns", "1", "--isl", "50")
_SHORT = (*_ONE_TURN, "--osl", "4")


@pytest.fixture(scope="module")
def modes(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The three modes on a simulated device, two rounds."""
    folder = tmp_path_factory.mktemp("modes") / "runs"
    result = abatch(
        *("compare", "--batching", "window,continuous,async", "--workload", "hol-probe", "--rounds", "2"),
        *("--device", "simulated:h100", "-d", "30", "--osl", "64", "--output", folder),
        *("--require", "decode.ttft.p99 <= baseline + 10%", "--require", "decode.ttft.p50 <= 1us"),
        *("--html", folder.parent / "report.html", "--markdown", folder.parent / "report.md"),
        *("--json", folder.parent / "report.json", "--junit", folder.parent / "report.xml"),
    )
    assert result.returncode == 3, result.stderr
    return result.stdout, folder


def rows(text: str) -> dict[str, list[str]]:
    return {line[:16].strip(): line[16:].split() for line in text.splitlines() if line[16:].split()}


def test_the_three_modes_stand_side_by_side(modes: tuple[str, Path]) -> None:
    text, folder = modes
    lines = text.splitlines()
    assert text.startswith("SIMULATED")
    assert lines[1].startswith("VERDICT: continuous is better than window in ") or "is better than window: " in lines[1]
    found = rows(text)
    assert found["ms"] == ["window", "continuous", "async"]
    window, continuous, ahead = (float(value.rstrip("%")) for value in found["device idle"])
    assert window > 1
    assert continuous > 5
    assert ahead < 1
    assert float(found["ttft p99"][0]) > 2 * float(found["ttft p99"][3])
    for mode in ("window", "continuous", "async"):
        again = abatch("report", folder / mode / "round-1")
        assert again.returncode == 0
        assert f"{mode} batching" in again.stdout


def test_rules_are_about_the_others_and_the_first_is_the_baseline(modes: tuple[str, Path]) -> None:
    text, _ = modes
    judged = [line.split()[0] for line in text.splitlines() if line.startswith(("PASS", "FAIL", "INCONCLUSIVE"))]
    assert judged == ["PASS", "FAIL", "PASS", "FAIL"]


def test_each_round_has_the_same_traffic_for_all_and_other_than_the_round_before(modes: tuple[str, Path]) -> None:
    _, folder = modes

    def arrivals(mode: str, number: int) -> list[float]:
        lines = (folder / mode / f"round-{number}" / "results.jsonl").read_text().splitlines()
        results = [json.loads(line) for line in lines]
        return sorted(one["due_s"] for one in results if one["traffic_class"] == "prefill" and one["turn_index"] == 0)

    seeds = [json.loads((folder / "async" / f"round-{n}" / "config.json").read_text())["seed"] for n in (1, 2)]
    assert seeds == [0, 1]
    for number in (1, 2):
        assert arrivals("window", number) == arrivals("async", number)


def test_what_was_saved_says_the_same_again(modes: tuple[str, Path]) -> None:
    text, folder = modes
    again = abatch("compare", folder)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[1:3] == text.splitlines()[1:3]
    saved = json.loads((folder / "comparison.json").read_text())
    assert saved["first"] == "window"
    assert [target["name"] for target in saved["targets"]] == ["continuous", "async"]
    assert saved["targets"][0]["differences"][0]["metric"] == "ttft"


def test_its_reports_say_the_same(modes: tuple[str, Path]) -> None:
    _, folder = modes
    saved = json.loads((folder / "comparison.json").read_text())
    verdict = saved["targets"][1]["verdict"]
    page = (folder.parent / "report.html").read_text()
    assert "Differences from window" in page
    assert verdict.split(":")[0] in page
    markdown = (folder.parent / "report.md").read_text()
    assert markdown.startswith("## abatch compare: hol-probe")
    assert "| ttft p99 |" in markdown
    assert set(json.loads((folder.parent / "report.json").read_text())) == {"comparison", "summaries", "rules"}
    assert (folder.parent / "report.xml").read_text().count("<failure") == 2


@pytest.mark.xdist_group("wall_clock")
def test_two_servers_of_which_one_is_slower_through_http(tmp_path: Path) -> None:
    with (
        null_server("--ttft", "20", "--itl", "5", log=tmp_path / "a.log") as fast,
        null_server("--ttft", "80", "--itl", "5", log=tmp_path / "b.log") as slow,
    ):
        result = abatch(
            *("compare", "--url", f"old={fast.url}", "--url", f"new={slow.url}", *_SHORT, "-r", "60", "-d", "4"),
            *("--rounds", "2", "-o", tmp_path / "runs", "--require", "ttft.p50 <= baseline + 10%"),
        )
    verdict = result.stdout.split("VERDICT: ")[1].split("\nsaved in")[0]
    if re.search(r"^ttft p50 .* not trusted$", result.stdout, re.MULTILINE):  # too busy to send on time: so it must say
        assert result.returncode == 4, result.stdout + result.stderr
        assert verdict.startswith(("Cannot compare new and old", "new is worse than old: e2e"))
    else:
        assert result.returncode == 3, result.stdout + result.stderr
        assert verdict.startswith("new is worse than old: ttft ")
        assert "ttft p50 x" in verdict or "ttft p50 +" in verdict, "p99 too, and first if it is further off"
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["comparison.json", "new", "old"]
    assert "round 2 of 2, old" in result.stderr, "A B, then B A"
    assert "left)" in result.stderr


def test_a_server_that_fails_leaves_the_others_intact(tmp_path: Path) -> None:
    with (
        null_server("--ttft", "5", log=tmp_path / "a.log") as one,
        null_server("--ttft", "5", log=tmp_path / "b.log") as other,
    ):
        result = abatch(
            *(
                "compare",
                "--url",
                f"a={one.url}",
                "--url",
                "gone=http://127.0.0.1:9",
                "--url",
                f"b={other.url}",
                *_SHORT,
            ),
            *("-r", "60", "-d", "4", "--rounds", "1", "-o", tmp_path / "runs"),
        )
    assert result.returncode == 1
    assert "FAILED: gone: cannot reach http://127.0.0.1:9" in result.stdout
    assert "b and a" in result.stdout or "b is" in result.stdout
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["a", "b", "comparison.json"]


@pytest.mark.xdist_group("wall_clock")
def test_a_server_that_answers_less_is_not_better(tmp_path: Path) -> None:
    with (
        null_server("--ttft", "20", "--itl", "5", log=tmp_path / "a.log") as whole,
        null_server("--ttft", "20", "--itl", "5", "--stop-after", "3", log=tmp_path / "b.log") as short,
    ):
        result = abatch(
            *("compare", "--url", f"old={whole.url}", "--url", f"new={short.url}", *_ONE_TURN, "--osl", "40"),
            *("-r", "60", "-d", "2", "--rounds", "1", "-o", tmp_path / "runs"),
            *("--require", "e2e.p99 <= baseline + 10%"),
        )
        meant = abatch(
            *("bench", "--url", short.url, *_ONE_TURN, "--osl", "40", "-r", "60", "-d", "1", "--no-ignore-eos"),
            *("--idle-probe", "0", "-o", tmp_path / "meant"),
        )
    assert result.returncode == 4, result.stdout + result.stderr
    text = " ".join(result.stdout.split())
    assert "NOT TRUSTED: new: 100.0% of the answers have another length than was asked for (3.0 tokens" in text
    assert "VERDICT: Cannot compare new and old: their answers differ in length, 40.0 tokens on average" in text
    assert "another length" not in meant.stdout
    said = "note: answers end where the model ends them: 3.0 tokens on average, at most 40.0 were asked for"
    assert said in " ".join(meant.stdout.split())
    again = abatch("report", tmp_path / "runs" / "new" / "round-1")
    assert "NOT TRUSTED: 100.0% of the answers have another length" in " ".join(again.stdout.split())


def test_a_server_that_answers_something_else_is_said_to(tmp_path: Path) -> None:
    """The answers are asked for before the rounds, and what came of it is read again with the saved comparison."""
    with (
        null_server("--ttft", "5", "--itl", "0", "--log", str(tmp_path / "truth"), log=tmp_path / "a.log") as old,
        null_server("--ttft", "5", "--itl", "0", "--word", "x", log=tmp_path / "b.log") as new,
    ):
        result = abatch(
            *("compare", "--url", f"old={old.url}", "--url", f"same={old.url}", "--url", f"new={new.url}", *_SHORT),
            *("-r", "30", "-d", "2", "--rounds", "1", "-o", tmp_path / "runs", "--check-answers", "--idle-probe", "0"),
        )
    assert result.returncode == 0, result.stdout + result.stderr
    other = "new answers 16 of 16 greedy prompts differently from old (the median first difference"
    assert other in " ".join(result.stdout.split())
    assert "note: same: answers all 16 greedy prompts exactly as old does" in " ".join(result.stdout.split())
    saved = json.loads((tmp_path / "runs" / "comparison.json").read_text())
    assert [target["answers"]["equal"] for target in saved["targets"]] == [16, 0]
    assert other in " ".join(abatch("compare", tmp_path / "runs").stdout.split())
    requests = [json.loads(line) for line in (tmp_path / "truth").read_text().splitlines()]
    asked = requests[1:17]  # the first one finds out what the server takes
    assert len({one["prompt_tokens"] for one in asked}) == 4, "a handful of sizes"
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["comparison.json", "new", "old", "same"]


def test_nothing_is_left_where_nobody_answers(tmp_path: Path) -> None:
    result = abatch(
        *("compare", "--url", "a=http://127.0.0.1:9", "--url", "b=http://127.0.0.1:10", *_SHORT, "-r", "5", "-d", "2"),
        cwd=tmp_path,
    )
    assert result.returncode == 1
    assert "FAILED: a: cannot reach http://127.0.0.1:9" in result.stdout
    assert "nothing to compare" in result.stdout
    assert "round 2" not in result.stderr, "one target alone is nothing to go on with"
    assert not [path for path in tmp_path.rglob("*") if path.name != "runs"]


def test_saved_runs_of_another_day_are_compared_with_a_warning(tmp_path: Path) -> None:
    write_fixed_run(tmp_path / "before")
    write_fixed_run(tmp_path / "after", slower=1.5, seed=1)
    result = abatch("compare", tmp_path / "before", tmp_path / "after", "--csv", "-")
    assert result.returncode == 0
    assert result.stdout.startswith("run,"), "what machines read is alone on stdout"
    assert "after is worse than before: " in result.stderr
    assert "the traffic was not the same" in result.stderr


def test_a_saved_comparison_keeps_its_order_and_leaves_out_what_is_not_whole(
    modes: tuple[str, Path], tmp_path: Path
) -> None:
    """`async` comes before `window` in the alphabet, and began in the same second."""
    _, folder = modes
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    (copied / "async" / "round-2" / "summary.json").unlink()
    result = abatch("compare", copied)
    assert result.returncode == 0, result.stderr
    assert "better than window" in result.stdout
    assert "note: round-2 left out" in result.stderr
    (copied / "comparison.json").unlink()
    shutil.rmtree(copied / "continuous")
    assert abatch("compare", copied).returncode == 0


def test_credentials_of_a_url_are_in_no_message_and_no_file(tmp_path: Path) -> None:
    result = abatch("compare", "--url", "http://u:s3cret@127.0.0.1:9/a", "--url", "http://u:s3cret@127.0.0.1:9/b")
    assert result.returncode == 2
    assert "s3cret" not in result.stderr
    with null_server("--ttft", "5", log=tmp_path / "a.log") as one:
        urls = [f"http://u:s3@cret@{one.url.removeprefix('http://')}" for _ in range(2)]
        result = abatch(
            *("compare", "--url", f"a={urls[0]}", "--url", f"b={urls[1]}", *_SHORT, "-r", "30", "-d", "2"),
            *("--rounds", "1", "-o", tmp_path / "runs", "--html", tmp_path / "page.html"),
        )
    assert result.returncode == 0, result.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "a.log"]
    assert len(written) > 6
    for path in written:
        assert b"cret" not in path.read_bytes().replace(b"secret", b""), path
    assert "cret@" not in result.stdout + result.stderr
