"""All figures as a few lines of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Tree = dict[str, Any]


def table(tree: Tree) -> Iterator[str]:
    """What was measured, part by part, then what became of the jobs that did not end well."""
    parts: dict[str, Callable[[Tree], Iterator[str]]] = {
        "machine": _machine,
        "steps": _steps,
        "idle": _idle,
        "peers": _peers,
        "kernels": _kernels,
        "http": _http,
    }
    if tree["arguments"].get("dry_run"):
        yield "DRY RUN on a CPU with tiny shapes: these numbers mean nothing"
    for name, rows in parts.items():
        if (part := tree["parts"].get(name)) is not None and part["figures"]:
            yield f"== {name}"
            yield from rows(part["figures"])
    for key, outcome in tree["jobs"].items():
        if outcome["status"] != "ok":
            yield f"{key}: {outcome['status']}: {outcome.get('error', '')}"


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
    yield f"{'mode':11} {'load':7} {'idle, totals':>12} {'by steps':>9} {'in decode':>9} {'host ms':>8} {'tokens/s':>9}"
    for mode, loads in figures.items():
        if not isinstance(loads, dict):
            continue
        for load, found in loads.items():
            if "skipped" in found:
                yield f"{mode:11} {load:7} {found['skipped']}"
                continue
            in_decode = "-" if found["idle_in_decode"] is None else f"{found['idle_in_decode']:.2%}"
            yield (
                f"{mode:11} {load:7} {found['idle_by_totals']:12.2%} {found['idle_by_steps']:9.2%} "
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
    bytes_per_s = figures.get("bandwidth_bytes_per_s", 0.0)
    for kind in ("decode", "prefill", "draw"):
        for key, found in figures.get(kind, {}).items():
            if "failed" in found:
                yield f"{kind:8} {key:30} failed: {found['failed']}"
                continue
            line = f"{kind:8} {key:30} {_range(found, 1e6, 1):>24} us"
            if "flops" in found:
                line += f" {found['flops'] / found['median'] / 1e12:7.1f} TFLOP/s"
            elif "bytes" in found:
                rate = found["bytes"] / found["median"]
                line += f" {rate / 1e9:7.0f} GB/s {rate / bytes_per_s:6.1%}"
            yield line


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
