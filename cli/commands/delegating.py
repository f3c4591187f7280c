"""Commands that are done by another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer


def context_of(context: typer.Context, name: str, words: Sequence[str]) -> Any:
    """Another command with these words parsed. Neither settings nor environment have a say: words say it all.

    Raises:
        click.UsageError: the words are not its.
    """
    root: Any = context.find_root()
    bare = type(root)(root.command, info_name=root.info_name)
    return root.command.get_command(bare, name).make_context(name, list(words), parent=bare)


def do(context: typer.Context, name: str, words: Sequence[str]) -> None:
    """Do another command.

    Raises:
        typer.Exit: with its exit code.
    """
    with context_of(context, name, words) as inner:
        inner.command.invoke(inner)
