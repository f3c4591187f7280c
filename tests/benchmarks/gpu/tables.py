"""All figures as a few lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Tree = dict[str, Any]

MOST_CHARACTERS = 11_000
"""Of all of it: what whoever reads the end of a call's output is sure to see."""
_MOST_FAILURES, _MOST_KERNELS = 12, 8
_WIDTH = 90
"""Of an error, a test's name or a kernel's; all of it is in the figures."""


def table(tree: Tree) -> Iterator[str]:
    """What was measured, part by part, then what became of the jobs that did not end well."""
    parts: dict[str, Callable[[Tree], Iterator[str]]] = {
        "smoke": _smoke,
        "profile": _profile,
        "tests": _tests,
        "machine": _machine,
        "steps": _steps,
        "kernels": _kernels,
        "peers": _peers,
        "idle": _idle,
        "http": _http,
    }
    if tree["arguments"].get("dry_run"):
        yield "DRY RUN on a CPU with tiny shapes: these numbers mean nothing"
    for name, rows in parts.items():
        if figures := tree["parts"].get(name):
            yield f"== {name}"
            try:
                yield from rows(figures)
            except Exception as error:  # figures that nobody foresaw must not cost the others
                yield f"cannot be shown: {type(error).__name__}: {error}"[:_WIDTH]
    for key, outcome in tree["jobs"].items():
        if outcome["status"] != "ok":
            yield f"{key}: {outcome['status']}: {outcome.get('error', '')[:_WIDTH]}"


def _smoke(figures: Tree) -> Iterator[str]:
    for name, error in figures.get("failed", {}).items():
        yield f"failed: {name}: {error[:_WIDTH]}"
    if "build_s" in figures:
        yield f"{figures['attention']}, {figures['num_graphs']} graphs, built in {figures['build_s']:.1f} s"
    for step, found in figures.items():
        if not isinstance(found, dict) or step == "failed":
            continue
        yield step
        for key, value in found.items():
            if isinstance(value, float):
                yield f"  {key}: {value:.1%}"
            elif "error" in value:
                yield f"  {key}: error {value['error']:.2e}, same argmax in {value['same_argmax']:.1%}"
            else:
                yield f"  {key}: {' '.join(f'{how}: {why[:_WIDTH]}' for how, why in value.items())}"


def _profile(figures: Tree) -> Iterator[str]:
    for step, found in figures.items():
        if "step_ms" not in found:
            yield f"{step}: {' '.join(f'{how}: {str(why)[:_WIDTH]}' for how, why in found.items())}"
            continue
        line = (
            f"{step}: {_range(found['step_ms'])} ms by events, {'replayed' if found['is_recorded'] else 'not recorded'}"
        )
        if "launched_ms" in found:
            line += f", {found['launched_ms']['median']:.3f} launched one by one"
        if "kernels" in found:
            line += (
                f"; {found['num_kernels']} kernels and {found['num_copies']} copies, {found['kernels_ms']:.3f} ms "
                f"together, {found['span_ms']:.3f} from first to last"
            )
        if "not_fused" in found:
            other = found["not_fused"]
            line += f"; not fused {other['num_kernels']} kernels, {other['kernels_ms']:.3f} ms together"
        yield line + (f"; profile failed: {found['failed'][:_WIDTH]}" if "failed" in found else "")
        for kernel in found.get("kernels", [])[:_MOST_KERNELS]:
            name = _short(kernel["name"])
            yield f"  {kernel['us']:9.1f} us {kernel['share']:6.1%} {kernel['count']:5} x {name}"


def _short(name: str) -> str:
    """A kernel's name without what all have in common."""
    for common in ("void ", "at::native::", "(anonymous namespace)::", "c10::", "cutlass::", "std::"):
        name = name.replace(common, "")
    return name[: _WIDTH * 2 // 3]


def _tests(figures: Tree) -> Iterator[str]:
    for name, found in figures.items():
        counts = ", ".join(f"{count} {outcome}" for outcome, count in found.get("outcomes", {}).items())
        yield f"{name}: {counts or 'none has ended'}; {found.get('num_found', '?')} found"
        errors: dict[str, list[str]] = {}
        for failure in found.get("failures", []):
            errors.setdefault(failure["error"], []).append(failure["test"])
        shown = list(errors.items())[:_MOST_FAILURES]
        for error, tests in shown:
            yield f"  {len(tests)} x {error[:_WIDTH]}"
            yield f"      {tests[0].removeprefix('tests/')[:_WIDTH]}"
        if len(errors) > len(shown):
            yield f"  and {len(errors) - len(shown)} other errors"


def _machine(figures: Tree) -> Iterator[str]:
    device, versions = figures.get("device", {}), figures.get("versions", {})
    said = [str(device.get("name"))]
    said += [f"driver {device['driver']}"] if device.get("driver") else []
    yield ", ".join([*said, *(f"{name} {version}" for name, version in versions.items())])
    for name, unit in (("copy_bytes_per_s", "TB/s"), ("read_bytes_per_s", "TB/s"), ("matmul_flops_per_s", "TFLOP/s")):
        if name in figures:
            rate = figures[name]
            yield f"{name.split('_')[0]:8} {_range(rate, 1e-12, 3)} {unit}, {rate['n']} times"


def _steps(figures: Tree) -> Iterator[str]:
    head = f"{'engine':17} {'B x L':>10} {'device ms':>24} {'period ms':>9} {'floor':>7}"
    yield f"{head} {'of it':>6} {'tokens/s':>9} idle"
    for variant, points in figures.items():
        if not isinstance(points, dict):
            continue
        for key, found in points.items():
            if isinstance(found, dict) and "period_ms" in found:
                yield (
                    f"{variant:17} {key:>10} {_range(found['device_ms']):>24} {found['period_ms']['median']:9.3f} "
                    f"{found['floor_ms']:7.3f} {found['share_of_floor']:6.1%} {found['tokens_per_s']:9,.0f} "
                    f"{found['idle']['median']:.2%}"
                )
        yield from _remarks(variant, points)


def _idle(figures: Tree) -> Iterator[str]:
    yield f"{'mode':11} {'load':7} {'idle, totals':>12} {'by gaps':>9} {'in decode':>9} {'host ms':>8} {'tokens/s':>9}"
    for mode, loads in figures.items():
        if not isinstance(loads, dict):
            continue
        for load, found in loads.items():
            if "skipped" in found:
                yield f"{mode:11} {load:7} {found['skipped']}"
                continue
            in_decode = "-" if found["idle_in_decode"] is None else f"{found['idle_in_decode']:.2%}"
            yield (
                f"{mode:11} {load:7} {found['idle_by_totals']:12.2%} {found['idle_by_gaps']:9.2%} "
                f"{in_decode:>9} {found['host_step_ms']:8.3f} {found['tokens_per_s']:9,.0f}"
            )


def _peers(figures: Tree) -> Iterator[str]:
    head = f"{'who':13} {'load':28} {'tokens/s':>24} {'n':>3} {'step ms':>8} {'floor':>6}"
    yield f"{head} {'idle':>7} {'itl p50 / p99':>14}"
    for name, found in figures.items():
        for load, measured in _loads(found):
            rate, itl = measured["tokens_per_s"], measured.get("itl_ms") or {}
            step = f"{measured['decode_ms']['median']:.2f}" if "decode_ms" in measured else "-"
            floor = f"{measured['share_of_floor']:.1%}" if "share_of_floor" in measured else "-"
            idle = f"{measured['idle']['median']:.2%}" if "idle" in measured else "-"
            gaps = " / ".join(f"{itl[key]:.1f}" for key in ("p50", "p99") if key in itl)
            remark = "" if measured.get("is_warm", True) else "  cold: graphs were recorded meanwhile"
            if (many := measured.get("many_steps")) is not None:
                remark += f"  {many['count']:,} steps: {many['s']:.1f} s"
            line = f"{name:13} {load:28} {_range(rate, 1, 0):>24} {rate['n']:3} {step:>8} {floor:>6}"
            yield f"{line} {idle:>7} {gaps:>14}{remark}"
        yield from _remarks(name, found)
    yield from _against(figures, "C", "D")
    yield from _against(figures, "D", "D-compile")
    yield from _against(figures, "D-nofusion", "D")


def _loads(found: Tree) -> Iterator[tuple[str, Tree]]:
    for load, measured in found.items():
        if isinstance(measured, dict) and "tokens_per_s" in measured:
            yield load, measured


def _against(figures: Tree, theirs: str, ours: str) -> Iterator[str]:
    """The quotient of two contenders, and whether they computed the same."""
    other = dict(_loads(figures.get(theirs, {})))
    for load, measured in _loads(figures.get(ours, {})):
        if load not in other:
            continue
        ratio = measured["tokens_per_s"]["median"] / other[load]["tokens_per_s"]["median"]
        steps = [one["decode_ms"]["median"] for one in (other[load], measured) if "decode_ms" in one]
        step = f", a decode step {steps[0] / steps[1]:.2f}x as fast" if len(steps) == 2 else ""
        is_same_prompts = measured.get("is_warm", True) and other[load].get("is_warm", True)
        pairs = zip(other[load]["first_tokens"], measured["first_tokens"], strict=True)
        same = [one == two for left, right in pairs for one, two in zip(left, right, strict=False)]
        agree = f", first tokens agree in {sum(same) / len(same):.0%}" if same and is_same_prompts else ""
        yield f"{ours} / {theirs}, {load}: {ratio:.2f}x tokens/s{step}{agree}"


def _kernels(figures: Tree) -> Iterator[str]:
    """A line a point, so that what stands beside each other can be chosen from."""
    for kind in ("decode", "prefill", "rows", "draw"):
        for point, ways in figures.get(kind, {}).items():
            cells = [f"{way} {_kernel(found, figures['bandwidth_bytes_per_s'])}" for way, found in ways.items()]
            yield f"{kind:7} {point:15} {' | '.join(cells)}"


def _kernel(found: Tree, bytes_per_s: float) -> str:
    if "failed" in found:
        return f"failed: {found['failed'][: _WIDTH // 2]}"
    time_s = found["median"]
    rate = (
        f"{found['bytes'] / time_s / bytes_per_s:.0%}"
        if "bytes" in found
        else f"{found['flops'] / time_s / 1e12:.0f} TF/s"
    )
    return f"{time_s * 1e6:.1f} us {rate}"


def _http(figures: Tree) -> Iterator[str]:
    limit = figures.get("max_num_batched_tokens")
    yield f"mixed, {figures.get('duration_s')} s each, at most {limit} tokens a step; chats, ms"
    for mode, found in figures.get("modes", {}).items():
        line = f"{mode:11}"
        for metric in ("ttft", "itl"):
            if metric in found:
                one = found[metric]
                line += (
                    f" {metric} p50 {one['p50_ms']:.2f} p99 {one['p99_ms']:.2f} p99/p50 {one['tail_ratio'] or 0:.2f};"
                )
        idle = found.get("device_idle")
        line += f" {found['output_tokens_per_s'] or 0:,.0f} tokens/s"
        yield line + (f", device idle {idle:.2%}" if idle is not None else "")


def _remarks(name: str, found: Tree) -> Iterator[str]:
    """What was skipped or went wrong inside of it."""
    for key, value in found.items():
        if key in ("skipped", "failed"):
            yield f"{name}: {key}: {value}"
        elif isinstance(value, dict) and "skipped" in value:
            yield f"{name} {key}: skipped: {value['skipped']}"


def _range(found: Tree, factor: float = 1.0, decimals: int = 3) -> str:
    middle, low, high = (f"{found[name] * factor:,.{decimals}f}" for name in ("median", "min", "max"))
    return f"{middle} ({low}-{high})"
