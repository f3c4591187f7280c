"""Run schemathesis against a server of the tiny model: `python check_openapi.py SCHEMATHESIS` (`make test-peers`).

Exits with 1 if an answer is not as /openapi.json says, is a 5xx, or if the server's log has a traceback.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.servers import running_server  # found by the line above

_OPTIONS = (
    *("--max-time", "60", "--seed", "1", "--max-examples", "200", "--continue-on-failure", "--warnings", "off"),
    # Values that OpenAI's API has and this engine lacks are valid, and refused with 422.
    *("--exclude-checks", "positive_data_acceptance"),
)

_CONFIG = """
[checks.negative_data_rejection]
# Its own, and 413: a body that has more of everything than the schema allows may be over the size limit first.
expected-statuses = ["400", "401", "404", "405", "409", "413", "415", "422", "429", "5xx"]
"""


def main() -> int:
    """The exit code."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        (Path(folder) / "schemathesis.toml").write_text(_CONFIG)  # where it is looked for
        # A short context: a request without max_tokens generates until it is full.
        with running_server("--max-model-len", "128", log=log) as server:
            command = [str(Path(sys.argv[1]).absolute()), "run", f"{server.url}/openapi.json", *_OPTIONS]
            code = subprocess.run(command, cwd=folder, check=False).returncode
        if "Traceback" in (text := log.read_text()):
            sys.stderr.write(text)
            return 1
    return 1 if code else 0


if __name__ == "__main__":
    sys.exit(main())
