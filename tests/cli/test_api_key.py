"""Keys: where they come from, and which are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from abatch.cli.options.api_key import find_api_key
from abatch.engine.errors import ConfigurationError


def test_a_key_comes_from_the_option_the_environment_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    file.write_text("of-file\r\n")
    assert find_api_key(None, None) is None
    assert find_api_key("of-option", None) == "of-option"
    assert find_api_key(None, file) == "of-file"
    monkeypatch.setenv("ABATCH_API_KEY", "of-environment")
    assert find_api_key("of-environment", None) == "of-environment"
    assert find_api_key("of-environment", file) == "of-file"
    with pytest.raises(ConfigurationError, match="give one of --api-key and --api-key-file"):
        find_api_key("of-option", file)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "is empty"),
        (" s3cret", "visible ASCII"),
        ("s3cret ", "visible ASCII"),
        ("s3 cret", "visible ASCII"),
        ("s3cret\n", "visible ASCII"),
        ("s3cret\x7f", "visible ASCII"),
        ("s3crét", "visible ASCII"),
        ("s3cret" * 1000, "more than 4096"),
    ],
    ids=repr,
)
def test_a_key_that_cannot_match_is_refused_wherever_it_comes_from(
    key: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text(f"{key}\n")
    monkeypatch.setenv("ABATCH_API_KEY", "another")
    with pytest.raises(ConfigurationError, match=rf"^--api-key .*{reason}"):
        find_api_key(key, None)
    with pytest.raises(ConfigurationError, match=reason) as refused:
        find_api_key("another", file)
    assert "cret" not in str(refused.value)
    monkeypatch.setenv("ABATCH_API_KEY", key)
    with pytest.raises(ConfigurationError, match=rf"^ABATCH_API_KEY .*{reason}"):
        find_api_key(key or None, None)  # the command line's parser takes an empty variable for none


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        (tmp_path / "missing", "No such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "is not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
    ):
        with pytest.raises(ConfigurationError, match=reason):
            find_api_key(None, path)


def test_a_file_that_everyone_can_read_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "key"
    file.write_text("s3cret\n")
    for mode in (0o600, 0o640, 0o644):
        file.chmod(mode)
        assert find_api_key(None, file) == "s3cret"
    (record,) = caplog.records
    assert "can be read by every user of this machine" in record.getMessage()
    assert "s3cret" not in record.getMessage()
