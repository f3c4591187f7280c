"""Fixtures for all tests."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from abatch.workloads.targets import patience
from support.run_profile import IS_NIGHTLY
from support.smollm2 import cache_folder, smollm2_folder

# Nothing here may reach for a hub: what a test needs it makes, or fetches by itself.
os.environ["HF_HUB_OFFLINE"] = "1"
for _name in ("ABATCH_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
    os.environ.pop(_name, None)
# Runs of tests are no news of the job that runs the tests.
for _name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
    os.environ.pop(_name, None)
# Ignored under nohup, and so by whatever a test starts: tests that close a terminal would wait for ever.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

if importlib.util.find_spec("hypothesis"):  # a machine that is borrowed for its GPU may lack it, and needs none of it
    from support.examples import choose_profile

    choose_profile()

# One thread, here and in what tests start: several would wait for each other at every operation of a small model, and
# other tests run beside this one.
if not torch.cuda.is_available():
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

# Without a GPU, Triton's kernels are interpreted. Triton decides that when it is first imported. Processes that tests
# start are not told: what users start would compile.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
    from support.interpreter import mend

    mend()
    del os.environ["TRITON_INTERPRET"]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Triton puts it back whenever its settings are looked at as a whole: what a test starts would depend on others."""
    if not torch.cuda.is_available():
        os.environ.pop("TRITON_INTERPRET", None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What only the nightly run has the time for is skipped in the others. What a module makes once for its tests, each
    worker would make: one worker runs the tests that share it.
    """
    for item in items:
        if item.get_closest_marker("nightly") and not IS_NIGHTLY:
            item.add_marker(pytest.mark.skip(reason="make nightly runs it"))
        if not isinstance(item, pytest.Function) or item.get_closest_marker("xdist_group"):
            continue
        definitions = item._fixtureinfo.name2fixturedefs
        shared = sorted(name for name, found in definitions.items() if found[-1].scope == "module")
        if shared:
            parameters = item.callspec.params if hasattr(item, "callspec") else {}
            group = [item.nodeid.partition("::")[0], *(str(parameters[name]) for name in shared if name in parameters)]
            item.add_marker(pytest.mark.xdist_group(" ".join(group)))
        elif "tiny_server" in definitions:
            item.add_marker(pytest.mark.xdist_group("tiny_server"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Without a word, a pytest-xdist that does not fit pytest would take no notice of groups."""
    if session.config.getoption("loadgroup", default=False):
        grouped = [item for item in session.items if item.get_closest_marker("xdist_group")]
        assert all("@" in item.nodeid for item in grouped), "pytest-xdist groups no tests under this pytest"


@pytest.fixture(scope="session", autouse=True)
def cache_of_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What `abatch calibrate` has found on this machine is not for tests to read, nor to write.

    Kernels that have been compiled are those of the user, or every worker would compile them.
    """
    cache, kernels = tmp_path_factory.mktemp("cache"), cache_folder() / "kernels"
    kernels.mkdir(mode=0o700, parents=True, exist_ok=True)
    (cache / "abatch").mkdir()
    (cache / "abatch" / "kernels").symlink_to(kernels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        yield


@pytest.fixture(scope="session", autouse=True)
def nobody_waits_for_a_server() -> Iterator[None]:
    """Hundreds of tests ask servers that are not there, or that say 503: nobody starts those a moment later."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patience, "LONGEST_S", 0.0)
        yield


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """A folder with the real weights of SmolLM2-135M-Instruct."""
    return smollm2_folder()


@pytest.fixture(scope="session")
def tiny_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of `tiny` that the whole session shares, which calls tools that requests bring.

    Tests that harm a server start their own.
    """
    from support.servers import running_server

    with running_server(
        "--model", "tiny", "--tiny-tool-calls", log=tmp_path_factory.mktemp("server") / "log"
    ) as server:
        yield server.url
