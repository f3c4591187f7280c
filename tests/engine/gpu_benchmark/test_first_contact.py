"""What the first call on a GPU does there, through Triton's interpreter where there is none."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from abatch.engine.device.torch_runner import TorchRunner
from abatch.engine.request import Batch
from abatch.engine.scheduling.limits import SchedulerConfig
from benchmarks.gpu import device_tests, idle, kernel_times, ours, over_http, peers, smoke, step_profile
from benchmarks.gpu.batches import Sequences, batch_of, chunk, last_token
from benchmarks.gpu.device_tests import MEMORY_TESTS, chosen, error_of
from benchmarks.gpu.driving import unrecorded
from benchmarks.gpu.setting import Figures, Setting, SkippedError
from support.models import VOCAB_SIZE, load, make_engine, make_model
from transformers import PreTrainedModel

ROOT = Path(device_tests.__file__).parents[3]

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU it is run, not tried")


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(
        work=tmp_path,
        report=tmp_path / "figures.json",
        is_dry=True,
        budget_s=100.0,
        figures=Figures(tmp_path / "job.json"),
    )


@pytest.fixture(autouse=True)
def one_thread_and_nothing_frozen() -> Iterator[None]:
    """As in a dry run: several threads would wait for each other, for work as small as this."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)
    gc.unfreeze()


def figures_of(setting: Setting) -> Any:
    return json.loads((setting.work / "job.json").read_bytes())


@pytest.fixture
def runner(tmp_path: Path) -> TorchRunner:
    """One that replays its steps: what is "recorded" here is called again."""
    make_model("llama", tmp_path / "model")
    config = SchedulerConfig(batching="continuous", max_num_seqs=4, max_num_batched_tokens=16, max_model_len=64)
    engine = make_engine(
        load(tmp_path / "model"), config, num_blocks=40, block_size=4, attention="triton", record=lambda step: step
    )
    runner = engine.engine._runner
    assert isinstance(runner, TorchRunner)
    return runner


@pytest.fixture
def original(runner: TorchRunner, tmp_path: Path) -> PreTrainedModel:
    """The same model, its layers as transformers has them."""
    return load(tmp_path / "model", fusion=False).module


def steps(runner: TorchRunner) -> tuple[Batch, Batch]:
    """Two decodes; one of them beside a chunk that ends a prompt."""
    sequences = Sequences(40, 4, VOCAB_SIZE, "test")
    decoding, prompt = [sequences.new(length) for length in (9, 14)], sequences.new(17)
    for request, end in [(decoding[0], 8), (decoding[1], 13), (prompt, 12)]:
        with unrecorded(runner):
            runner.launch(batch_of([chunk(request, 0, end)])).collect()
    decodes = [last_token(request) for request in decoding]
    return batch_of(decodes), batch_of([chunk(prompt, 12, 17), decodes[0]])


def test_a_step_is_compared_however_it_is_launched(
    runner: TorchRunner, original: PreTrainedModel, setting: Setting
) -> None:
    for name, batch in zip(("decode", "mixed"), steps(runner), strict=True):
        smoke.compare(setting.within(name), runner, batch, original)
        found = figures_of(setting)[name]
        for pair in ("recorded / launched", "launched / eager", "recorded / eager"):
            assert found[pair]["error"] < 1e-5
            assert (found[pair]["same_argmax"], found[pair]["num_rows"]) == (1.0, 2.0)
        assert found["drawn tokens that are the most likely"] == 1.0


def test_a_comparison_sees_what_differs(runner: TorchRunner, original: PreTrainedModel, setting: Setting) -> None:
    decode, _ = steps(runner)
    runner.attention.cache.data.fill_(0.5)
    smoke.compare(setting, runner, decode, original)
    found = figures_of(setting)
    assert found["launched / eager"]["error"] > 0.01
    assert found["recorded / launched"]["error"] < 1e-5


def raising(*_: object) -> NoReturn:
    raise RuntimeError("CUDA error: something\nand more")


def test_a_way_that_fails_leaves_the_other_comparisons(
    runner: TorchRunner, original: PreTrainedModel, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smoke, "launched", raising)
    smoke.compare(setting, runner, steps(runner)[0], original)
    found = figures_of(setting)
    assert found["launched"] == {"failed": "RuntimeError: CUDA error: something"}
    assert found["recorded / eager"]["error"] < 1e-5
    assert "launched / eager" not in found


def test_an_engine_that_cannot_be_built_is_built_without_what_fails(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = smoke._build

    def failing(setting: Setting, options: dict[str, Any]) -> Any:
        return build(setting, options) if options.get("cuda_graphs") is False else raising()

    monkeypatch.setattr(smoke, "_build", failing)
    assert smoke.build(setting).ready.attention == "sdpa"
    failed = "RuntimeError: CUDA error: something"
    assert figures_of(setting)["failed"] == {"the engine as it is": failed, "fusion=False": failed}


def test_what_is_built_is_kept_from_the_collector(setting: Setting) -> None:
    assert gc.get_freeze_count() == 0
    smoke.build(setting)
    assert gc.get_freeze_count() > 10_000


def test_steps_are_profiled_with_their_layers_as_they_were_as_well(runner: TorchRunner, tmp_path: Path) -> None:
    model = runner._model
    original = load(tmp_path / "model", fusion=False).module
    decode, _ = steps(runner)
    with unrecorded(runner), step_profile.by_model(runner, original):
        assert runner._model.module is original
        tokens = runner.launch(decode).collect().token_ids
    assert runner._model is model
    assert runner.launch(decode).collect().token_ids == tokens


def test_without_a_profile_there_are_still_times(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_profile, "pieces_of", raising)
    with pytest.raises(RuntimeError, match="CUDA error"):
        step_profile.run(setting, smoke.build(setting))
    found = figures_of(setting)
    assert found["profiler"] == {"failed": "RuntimeError: CUDA error: something"}
    assert found["2 x 40"]["step_ms"]["n"] == 20
    assert found["2 x 40 and 12 tokens of a prompt"]["launched_ms"]["n"] == 20


@pytest.mark.parametrize(("fails", "stays"), [((peers, "measure_ours"), "idle"), ((idle, "run"), "peers")])
def test_of_parts_that_share_a_model_one_that_fails_leaves_the_other(
    fails: tuple[Any, str], stays: str, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*fails, raising)
    with pytest.raises(RuntimeError, match=r"^(peers|idle): RuntimeError: CUDA error: something$"):
        ours.run(setting)
    assert set(figures_of(setting)) == {"machine", stays}


@pytest.mark.parametrize(("budget_s", "build_s", "expected_s"), [(95, 40, 12), (150, 40, 16), (400, 40, 40)])
def test_two_servers_get_what_time_there_is(
    budget_s: float, build_s: float, expected_s: float, setting: Setting
) -> None:
    """Each needs its build and 19 s around it; they send for 12 to 40 s."""
    setting.report.write_text(json.dumps({"parts": {"peers": {"D": {"build_s": build_s}}}}))
    setting = replace(setting, is_dry=False, budget_s=budget_s)
    assert over_http.sending_s(setting) == pytest.approx(expected_s, abs=1)
    with pytest.raises(SkippedError, match=r"s are too little for a server and its load$"):
        over_http.sending_s(replace(setting, budget_s=build_s + 19 + 11))


def test_kernels_are_timed_with_pages_as_the_model_has_them(setting: Setting) -> None:
    kernel_times.run(setting)
    found = figures_of(setting)
    timed = {"decode": ["page 16"], "prefill": ["page 16"], "rows": ["norm", "gate"], "draw": ["top_p 1", "top_p 0.9"]}
    for kind, way in ((kind, way) for kind, ways in timed.items() for way in ways):
        ((_, ways),) = found[kind].items()
        assert 0 < ways[way]["min"] <= ways[way]["median"]
    assert found["decode"]["2 x 20"]["page 16"]["bytes"] == 2 * 2 * 20 * 8 * 128 * 2


def test_the_largest_points_of_the_kernels_fit_beside_nothing_else_into_80_gb() -> None:
    plan = kernel_times.Plan()
    most_bytes = max(num_seqs * context for num_seqs, context in plan.points) * plan.layers * 2 * 8 * 128 * 2
    assert most_bytes < 40e9


def test_tests_of_the_device_leave_out_what_wants_its_memory_or_takes_too_long() -> None:
    arguments = chosen("", is_dry=False)
    source = (ROOT / "tests/gpu/test_engine_on_cuda.py").read_text()
    for test in MEMORY_TESTS:
        assert f"def {test}(" in source
        assert f"--deselect=tests/gpu/test_engine_on_cuda.py::{test}" in arguments
    assert "--ignore=tests/gpu/test_sanitizer.py" in arguments
    assert {"tests/gpu", "tests/engine/attention/test_kernels.py", "tests/engine/device/test_draw_kernel.py"} <= set(
        arguments
    )
    assert "tests/engine/attention/test_compiled_kernels.py" not in arguments
    assert chosen("memory", is_dry=False) == [f"tests/gpu/test_engine_on_cuda.py::{test}" for test in MEMORY_TESTS]


def test_each_outcome_is_written_down_when_it_is_known(tmp_path: Path) -> None:
    """The last test ends the process: what came before it is there."""
    (tmp_path / "test_all.py").write_text(
        "import os, pytest\n"
        "@pytest.fixture\n"
        "def broken(): raise OSError('no such device')\n"
        "def test_good(): pass\n"
        "def test_bad(): assert 1 + 1 == 3\n"
        "def test_early(broken): pass\n"
        "def test_later(): pytest.skip()\n"
        "def test_end(): os._exit(9)\n"
    )
    (tmp_path / "test_bad_file.py").write_text("import no_such_package\n")
    code = (
        "import sys, pytest\n"
        "from pathlib import Path\n"
        "from benchmarks.gpu.device_tests import OutcomeCounter\n"
        "from benchmarks.gpu.setting import Figures\n"
        "plugin = OutcomeCounter(Figures(Path('job.json')))\n"
        "sys.exit(pytest.main(['--continue-on-collection-errors', '-p', 'no:cacheprovider'], plugins=[plugin]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, env=environment, cwd=tmp_path, check=False, capture_output=True).returncode == 9
    found = json.loads((tmp_path / "job.json").read_bytes())
    assert found["num_found"] == 5
    assert found["outcomes"] == {"passed": 1, "failed": 3, "skipped": 1}
    assert [(failure["test"], failure["error"]) for failure in found["failures"]] == [
        ("test_bad_file.py", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("test_all.py::test_bad", "assert (1 + 1) == 3"),
        ("test_all.py::test_early", "OSError: no such device"),
    ]


def test_the_last_of_several_errors_is_the_one_that_is_told() -> None:
    chained = "x.py:1: in f\nE   KeyError: 1\n\nDuring handling:\nx.py:2: in g\nE   ValueError: two\nE     of lines\n"
    assert error_of(chained) == "ValueError: two"
    assert error_of("worker 'gw3' crashed while running 'test_x'") == "worker 'gw3' crashed while running 'test_x'"
    assert error_of("") == "it said nothing"
