"""The results of a race: as JSON, as a table in text or Markdown, and as a bar chart."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastdnn import kernels
from fastdnn.plots import write_figure

from .contenders import CASES, Work
from .race import Lane

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Result = dict[str, Any]  # what JSON holds
NAMES = {
    "fastdnn": "fastdnn",
    "numpy": "NumPy",
    "sklearn": "scikit-learn",
    "torch": "PyTorch",
    "torch_compile": "torch.compile",
    "jax": "JAX",
}


def result_of(settings: Mapping[str, Any], lanes: Mapping[str, Mapping[str, Lane]]) -> Result:
    """Return all that was measured, ready for JSON.

    Parameters
    ----------
    settings : mapping
        ``optimizer``, ``dtype``, ``threads`` and ``rounds``.
    lanes : mapping
        For each case what each contender did.
    """
    cases: dict[str, Any] = {}
    versions: dict[str, str] = {}
    for case, of in lanes.items():
        cases[case] = {}
        for name, lane in of.items():
            if lane.version is not None:
                versions[name] = lane.version
            if lane.skipped is not None:
                cases[case][name] = {"skipped": lane.skipped}
                continue
            steps = Work(case).steps
            cases[case][name] = {
                "microseconds per step": [round(1e6 * s / steps, 3) for s in lane.seconds],
                "first epoch seconds": None if lane.first is None else round(lane.first, 3),
            }
    return {"environment": _environment(versions), "settings": dict(settings), "cases": cases}


def _environment(versions: Mapping[str, str]) -> dict[str, Any]:
    """Return the machine, without its name, and what runs on it."""
    info = kernels.info()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": _cpu() or str(info["cpu"]),
        "vector bits": info["vector bits"],
        "cpus": info["cpus"],
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "numba": info["numba"],
        "versions": dict(versions),
    }


def _cpu() -> str | None:
    """Return the CPU's name as Linux says it, with the microarchitecture that LLVM sees."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({kernels.info()['cpu']})" if names else None


def best(case: Mapping[str, Any], name: str) -> float | None:
    """Microseconds per step, the best of the rounds; None where the contender did not run."""
    times = case.get(name, {}).get("microseconds per step")
    return min(times) if times else None


def ratio(case: Mapping[str, Any]) -> tuple[float, str] | None:
    """Return how many times faster fastdnn is than the best of the others, and which that is."""
    own = best(case, "fastdnn")
    others = {name: best(case, name) for name in case if name != "fastdnn"}
    ran = {name: time for name, time in others.items() if time is not None}
    if own is None or not ran:
        return None
    quickest = min(ran, key=lambda name: ran[name])
    return ran[quickest] / own, quickest


def layers(case: str) -> str:
    """``784-128-10``; a run of equal widths as ``64 x 17``."""
    groups: list[list[int]] = []
    for n in CASES[case].sizes:
        if groups and groups[-1][0] == n:
            groups[-1][1] += 1
        else:
            groups.append([n, 1])
    parts = [f"{n} x {count}" if count > 2 else "-".join([str(n)] * count) for n, count in groups]
    return "-".join(parts)


def _rows(result: Result) -> list[list[str]]:
    """Return the table: a heading, then a row for each case."""
    cases = result["cases"]
    names = list(next(iter(cases.values())))
    rows = [["case", "layers", "batch", *(NAMES[name] for name in names), "fastdnn to the best"]]
    for case, of in cases.items():
        times = [best(of, name) for name in names]
        found = ratio(of)
        rows.append(
            [
                case,
                layers(case),
                str(CASES[case].batch),
                *("–" if time is None else _digits(time) for time in times),
                "–" if found is None else f"{found[0]:.2f} ({NAMES[found[1]]})",
            ]
        )
    return rows


def _digits(value: float) -> str:
    """Three digits are all that such a measurement is good for."""
    return f"{value:.1f}" if value < 99.5 else f"{float(f'{value:.3g}'):,.0f}"


def _about(result: Result) -> list[str]:
    """Return what was measured, where, and what was left out."""
    of, how = result["environment"], result["settings"]
    lines = [
        f"Microseconds per training step, the best of {how['rounds']} rounds; {how['optimizer']}, "
        f"{how['dtype']}, {how['threads']} threads; {of['date']}.",
        f"{of['cpu']}, {of['cpus']} CPUs, {of['vector bits']}-bit vectors; {of['system']}, "
        f"Python {of['python']}, numba {of['numba']}; "
        + ", ".join(f"{NAMES[name]} {version}" for name, version in of["versions"].items())
        + ".",
    ]
    skipped = {
        f"{NAMES[name]}: {lane['skipped']}"
        for case in result["cases"].values()
        for name, lane in case.items()
        if "skipped" in lane
    }
    return [*lines, *(f"Left out: {reason}" for reason in sorted(skipped))]


def text(result: Result) -> str:
    """Return a table for the terminal."""
    rows = _rows(result)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if at < 2 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", *_about(result)]) + "\n"


def markdown(result: Result) -> str:
    """Return a table for a README."""
    heading, *rows = _rows(result)
    align = ["---", "---", *["---:"] * (len(heading) - 2)]
    lines = ["| " + " | ".join(row) + " |" for row in (heading, align, *rows)]
    return "\n".join([*lines, "", *_about(result)]) + "\n"


def plot(result: Result, figure: Figure, path: str | Path) -> None:
    """Draw how many times as long as fastdnn each library takes, and write the picture."""
    cases = list(result["cases"])
    names = [name for name in result["cases"][cases[0]] if name != "fastdnn"]
    axes, width = figure.subplots(), 0.8 / max(len(names), 1)
    for at, name in enumerate(names):
        heights = []
        for case in cases:
            own, time = (best(result["cases"][case], of) for of in ("fastdnn", name))
            heights.append(math.nan if own is None or time is None else time / own)
        places = [i - 0.4 + width * (at + 0.5) for i in range(len(cases))]
        bars = axes.bar(places, heights, width, label=NAMES[name])
        axes.bar_label(bars, fmt="%.2g", fontsize=6, rotation=90, padding=2)
    axes.axhline(1, color="black", linewidth=1)
    axes.set(yscale="log", ylabel="time of a training step, fastdnn = 1")
    axes.set_xticks(range(len(cases)), [f"{case}\n{layers(case)}" for case in cases], fontsize=7)
    axes.margins(y=0.15)
    if names:
        axes.legend(ncols=len(names), fontsize=8, loc="upper center")
    axes.set_title("\n".join(_about(result)[:2]), fontsize=7)
    write_figure(figure, path)
