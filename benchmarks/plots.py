"""The plots of docs/performance.md, from `results.json`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

from benchmarks.scale import formula

mpl.use("Agg")
FOLDER = Path(__file__).parent.parent / "docs" / "images" / "performance"
OURS, BLUE, GREEN, GREY, RED = "#6d4aff", "#2a9df4", "#1aab8a", "#9aa3b2", "#e4572e"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666f7f",
    "axes.grid": True,
    "grid.color": "#e6e9ef",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


@contextmanager
def figure(name: str, columns: int = 1, size: tuple[float, float] = (7.4, 4.2)) -> Iterator[Sequence[Any]]:
    """Axes to draw on; the picture is written at the end."""
    with plt.rc_context(STYLE):
        drawn, axes = plt.subplots(1, columns, figsize=size, layout="constrained", squeeze=False)
        yield list(axes[0])
        FOLDER.mkdir(parents=True, exist_ok=True)
        # Without the version of the library in it, the same figures make the same file.
        drawn.savefig(FOLDER / f"{name}.png", dpi=130, metadata={"Software": None})
        plt.close(drawn)


def calls(found: dict[str, Any]) -> None:
    """Calls an image against lag."""
    with figure("calls") as (axes,):
        colours = {"0.2": GREEN, "0.6": OURS, "1.2": BLUE}
        for spread, points in found["watcher"].items():
            label = f"the watcher, latencies ± {50 * float(spread):.0f} %"
            axes.plot(*_percent(points), color=colours[spread], lw=2.4, label=label)
            split = f"split into k equal looks, ± {50 * float(spread):.0f} %"
            axes.plot(*_percent(found["split"][spread]), color=colours[spread], lw=1.1, ls=(0, (4, 2)), label=split)
        axes.plot(*_percent(found["every"]), color=GREY, lw=1.6, label="a look each so many seconds")
        measured, lag = found["measured"]
        axes.axvline(5, color="#c9cfda", lw=1, zorder=0)
        axes.axhline(6.6, color="#c9cfda", lw=1, zorder=0)
        axes.plot([100 * lag], [measured], marker="*", ms=17, color=RED, mec="white", ls="", label="measured, ± 30 %")
        axes.text(5.12, 3.15, "target: 5 %", color="#666f7f", fontsize=9)
        axes.text(0.12, 6.7, "target: 6.6", color="#666f7f", fontsize=9)
        axes.set(xlim=(0, 14), ylim=(3, 14), xlabel="mean lag until an end is noticed, % of the mean latency")
        axes.set(ylabel="HTTP calls per image", title="Fewer calls or less lag: what a policy trades")
        axes.legend(loc="upper right", ncols=1)


def _percent(points: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    return [100 * lag for _, lag in points], [calls for calls, _ in points]


def peers(found: dict[str, Any]) -> None:
    """CPU and calls an image, side by side."""
    names = list(found)[::-1]
    colours = [OURS if name.startswith("dagster") else GREY for name in names]
    with figure("peers", 3, (10.4, 2.7)) as panels:
        for axes, (key, title) in zip(
            panels,
            (("cpu", "CPU per image, ms"), ("calls", "HTTP calls per image"), ("wall", "wall time ÷ greedy schedule")),
            strict=True,
        ):
            values = [found[name][key] for name in names]
            bars = axes.barh([_short(name) for name in names], values, color=colours, height=0.62)
            form = "%.2f" if key == "wall" else "%.1f"
            axes.bar_label(bars, fmt=form, padding=4, fontsize=9)
            axes.set(title=title, xlim=(0, max(values) * 1.22))
            axes.grid(visible=False, axis="y")
            if axes is not panels[0]:
                axes.set_yticklabels([])


def _short(name: str) -> str:
    return name.replace("fal-client, ", "fal-client,\n").replace(
        "bare aiohttp loop, a look each", "bare loop,\na look each"
    )


def dagster(found: dict[str, Any]) -> None:
    """CPU-seconds an image under Dagster; logarithmic, since they lie so far apart."""
    names = list(found)[::-1]
    colours = [OURS if name.startswith("dagster") else GREY for name in names]
    with figure("dagster", size=(7.4, 2.5)) as (axes,):
        values = [found[name]["cpu"] for name in names]
        bars = axes.barh(names, values, color=colours, height=0.6)
        axes.bar_label(bars, labels=[f"{value:.3g} s" for value in values], padding=4, fontsize=9)
        axes.set(xscale="log", xlabel="CPU-seconds, logarithmic", title="CPU per image under Dagster")
        axes.set(xlim=(min(values) / 3, max(values) * 3))
        axes.grid(visible=False, axis="y")


def memory(found: dict[str, Any]) -> None:
    """Resident memory over the course of each run."""
    with figure("memory") as (axes,):
        shades = ("#c9bcff", "#9a83ff", OURS)
        lines = [
            (f"{int(rows):,} rows bought", points, colour)
            for (rows, points), colour in zip(found["bought"].items(), shades, strict=True)
        ]
        lines += [("1,000,000 rows planned", found["planned"], GREEN), ("1,000,000 rows all done", found["done"], BLUE)]
        for label, points, colour in lines:
            end = points[-1][0]
            axes.plot([100 * at / end for at, _ in points], [mb for _, mb in points], color=colour, lw=2, label=label)
        axes.axhline(found["idle"], color=GREY, lw=1.2, ls=(0, (4, 2)), label="an idle process")
        axes.axhline(found["idle"] + 50, color=RED, lw=1.2, ls=(0, (4, 2)), label="50 MB above it")
        axes.set(xlim=(0, 100), ylim=(0, None), xlabel="% of the run", ylabel="resident memory, MB")
        axes.set(title="Memory does not grow with the number of rows")
        axes.legend(loc="lower right", ncols=2)


def scale(found: dict[str, Any]) -> None:
    """Hours against rows: simulated points on the formula's lines."""
    points = found["points"]
    with figure("scale") as (axes,):
        for slots, colour in ((2, GREEN), (40, OURS), (400, BLUE)):
            rows = [10.0**e for e in (3, 4, 5, 6, 7, 8)]
            hours = [formula(int(n), slots, 10.0)[0] / 3600 for n in rows]
            axes.plot(rows, hours, color=colour, lw=1.3, ls=(0, (4, 2)))
            seen = [p for p in points if p["slots"] == slots and p["latency"] == 10.0]
            times = [p["seconds"] / 3600 for p in seen]
            axes.plot([p["rows"] for p in seen], times, marker="o", ms=7, color=colour, ls="", label=f"{slots} slots")
        axes.plot([], [], color=GREY, lw=1.3, ls=(0, (4, 2)), label="the formula")
        for height, name in ((1.0, "an hour"), (24.0, "a day"), (24.0 * 30, "a month")):
            axes.text(1.2e8, height, name, color="#666f7f", fontsize=9, va="center")
            axes.axhline(height, color="#c9cfda", lw=1, zorder=0)
        axes.set(xscale="log", yscale="log", xlim=(500, 1e8), xlabel="images", ylabel="hours at 10 s ± 30 %")
        axes.set(title="Time against images: simulated, and by the formula")
        axes.legend(loc="lower right")


def draw(benchmarks: dict[str, Any]) -> list[str]:
    """All plots that there are figures for; returns their names."""
    series = {name: about["series"] for name, about in benchmarks.items()}
    if "scale" in series and "scale-million" in series:
        series["scale"] = {"points": series["scale"]["points"] + series["scale-million"]["points"]}
    plots: dict[str, Callable[[dict[str, Any]], None]] = {
        "calls": calls, "peers": peers, "memory": memory, "dagster": dagster, "scale": scale,
    }  # fmt: skip
    drawn = [name for name in plots if series.get(name)]
    for name in drawn:
        plots[name](series[name])
    return drawn
