"""Whether a grammar compiles, in a process of its own that may be ended: a schema of 5 KB can compile for hours."""

from __future__ import annotations

import os
import resource
import sys

from llguidance import LLMatcher

from .grammar import first_line, limits

_MEMORY_BYTES = 4 << 30
"""Of address space."""


def main() -> None:
    """Read a grammar and write what is wrong with it. The argument is the most CPU time for that, in seconds."""
    os.nice(10)  # steps of a CPU's engine come first
    cpu_s = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    message = LLMatcher.validate_grammar(sys.stdin.read(), limits=limits())
    if message and not message.startswith("WARNING"):
        sys.stdout.write(first_line(message))


if __name__ == "__main__":
    main()
