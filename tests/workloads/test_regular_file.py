"""Opening files that others made."""

from __future__ import annotations

from pathlib import Path

import pytest
from abatch.workloads.regular_file import open_regular, read_regular
from support.special_files import SPECIAL, make_special


@pytest.mark.timeout(10)
@pytest.mark.parametrize("follows_links", [True, False])
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str, follows_links: bool) -> None:
    with pytest.raises(OSError, match=r"is not a regular file|is a folder|is a symbolic link"):
        open_regular(make_special(kind, tmp_path / "file"), follows_links=follows_links)


def test_links_are_followed_unless_they_may_lead_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "secret")
    assert read_regular(link, 10) == b"secret"
    with pytest.raises(OSError, match="is a symbolic link"):
        read_regular(link, 10, follows_links=False)
    (tmp_path / "folder").symlink_to(tmp_path)
    assert read_regular(tmp_path / "folder" / "secret", 10, follows_links=False) == b"secret"


def test_no_more_is_read_than_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 11)
    assert read_regular(path, 11) == b"x" * 11
    with pytest.raises(OSError, match="is larger than"):
        read_regular(path, 10)
    with path.open("r+b") as file:
        file.truncate(2**40)  # all holes
    with pytest.raises(OSError, match="is larger than"):
        read_regular(path, 2**20)


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="invalid path"):
        open_regular(Path(f"{tmp_path}/\0"))
