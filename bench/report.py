"""What was measured, for readers: a Markdown table, a plot, and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.engines import REFERENCE
from bench.machine import sentence, thread_count
from bench.measure import Row
from bench.timing import geometric_mean
from miniconv import ConvProblem

OWN = "miniconv"
WORST = 3


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the columns after the first are numbers, and stand on the right."""
    lines = [header, ["---"] + ["--:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def engine_names(rows: Sequence[Row]) -> list[str]:
    """Every engine that was timed on some layer, in order of appearance."""
    return list(dict.fromkeys(name for row in rows for name, e in row["engines"].items() if "ratio" in e))


def ratios(rows: Iterable[Row], engine: str) -> dict[str, float]:
    """For each layer that the engine was timed on, by ``group/name``, torch's time over the engine's."""
    return {
        f"{row['group']}/{row['name']}": row["engines"][engine]["ratio"]
        for row in rows
        if "ratio" in row["engines"].get(engine, {})
    }


def groups(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """The rows by group, in order of appearance."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["group"], []).append(row)
    return found


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Of each group and of all: geometric means by engine, and miniconv's worst layers, the slowest first."""
    result = {}
    for name, members in {**groups(rows), "all layers": list(rows)}.items():
        own = ratios(members, OWN)
        result[name] = {
            "layers": len(members),
            "geometric_mean": {e: geometric_mean(ratios(members, e).values()) for e in engine_names(members)},
            "worst": dict(sorted(own.items(), key=lambda item: item[1])[:WORST]),
        }
    return result


def summary_table(rows: Sequence[Row]) -> str:
    """Geometric means of the ratios to torch, and the worst layers."""
    names = [name for name in engine_names(rows) if name != REFERENCE]
    lines = []
    for group, means in summary(rows).items():
        cells = [f"{means['geometric_mean'][n]:.2f}" if n in means["geometric_mean"] else "" for n in names]
        worst = ", ".join(f"{layer.split('/', 1)[1]} {ratio:.2f}" for layer, ratio in means["worst"].items())
        lines.append([group, str(means["layers"]), *cells, worst])
    return table(["group", "layers", *names, f"{OWN}'s worst"], lines)


def kind_of(problem: ConvProblem) -> str:
    """Which of the kinds that are told apart below a problem is.

    >>> kind_of(ConvProblem.parse("conv2d n1 c8 o8 i9x9 k3x3 s2x2 float32"))
    'dense 3x3, stride 2'
    """
    kernel, stride, dilation = ("x".join(map(str, x)) for x in (problem.kernel_size, problem.stride, problem.dilation))
    if problem.groups > 1:
        return "depthwise" if problem.groups == problem.in_channels else "grouped"
    steps = (f", stride {stride[0]}" if stride != "1x1" else "") + (", dilated" if dilation != "1x1" else "")
    if kernel == "1x1":
        return kernel + steps
    return "dense 3x3" + steps if kernel == "3x3" else "dense others"


def kind_table(rows: Sequence[Row]) -> str:
    """Geometric means of the ratios to torch by kind, and miniconv's share of the peak: least, median and most."""
    names = [name for name in engine_names(rows) if name != REFERENCE]
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(kind_of(ConvProblem.parse(row["problem"])), []).append(row)
    lines = []
    for kind, members in sorted(kinds.items()):
        means = {name: ratios(members, name).values() for name in names}
        cells = [f"{geometric_mean(means[name]):.2f}" if means[name] else "" for name in names]
        engines = [row["engines"].get(OWN, {}) for row in members]
        shares = [engine["share_of_peak"] for engine in engines if "share_of_peak" in engine]
        found = " / ".join(f"{of(shares):.0%}" for of in (min, median, max)) if shares else ""
        lines.append([kind, str(len(members)), *cells, found])
    return table(["kind", "layers", *names, f"{OWN}, of peak: least / median / most"], lines)


def peak_sentence(rows: Sequence[Row]) -> str:
    """What the loop of multiply-adds reached beside the layers."""
    peaks = [row["peak_gflops"] for row in rows if "peak_gflops" in row]
    if not peaks:
        return ""
    least, middle, most = (of(peaks) for of in (min, median, max))
    return (
        "Peak: a loop of nothing but multiply-adds in the same rounds,"
        f" {least:.0f} to {most:.0f} GFLOP/s, in the median {middle:.0f}."
    )


def layer_table(rows: Sequence[Row]) -> str:
    """Every layer: torch's time, each engine's ratio to it, miniconv's GFLOP/s and share of the peak."""
    names = [name for name in engine_names(rows) if name != REFERENCE]
    lines = []
    for row in rows:
        engines = row["engines"]
        own = engines.get(OWN, {})
        lines.append(
            [
                f"{row['group']} {row['name']}",
                f"`{row['problem']}`",
                f"{engines[REFERENCE]['seconds'] * 1e6:.1f}",
                *(f"{engines[n]['ratio']:.2f}" if "ratio" in engines.get(n, {}) else "" for n in names),
                f"{own['gflops']:.1f}" if "gflops" in own else "",
                f"{own['share_of_peak']:.0%}" if "share_of_peak" in own else "",
            ]
        )
    return table(["layer", "problem", "torch, us", *names, f"{OWN}, GFLOP/s", "of peak"], lines)


def bandwidth_table(rows: Sequence[Row]) -> str:
    """Every depthwise layer: its bytes, the rate at which miniconv moves them, and that of a loop that only does so."""
    lines = []
    for row in rows:
        own, stream = row["engines"].get(OWN, {}), row.get("stream")
        if stream is None or "seconds" not in own:
            continue
        rates = [stream["bytes"] / seconds / 1e9 for seconds in (own["seconds"], stream["seconds"])]
        share = stream["seconds"] / own["seconds"]
        cells = [f"{stream['bytes'] / 2**10:.0f}", *map("{:.1f}".format, rates), f"{share:.0%}"]
        lines.append([f"{row['group']} {row['name']}", *cells])
    header = ["depthwise layer", "input, weight, output, KiB", f"{OWN}, GB/s", "only moved, GB/s", "of that roof"]
    return table(header, lines) if lines else ""


def markdown(result: dict[str, Any]) -> str:
    """The whole report of ``python -m bench``."""
    rows = result["layers"]
    refused = sorted(
        {
            f"- {n}: {e['refused']} ({r['group']} {r['name']})"
            for r in rows
            for n, e in r["engines"].items()
            if "refused" in e
        }
    )
    parts = [
        "# Layers",
        sentence(result["machine"]),
        f"Ratios are torch's time over the engine's: above 1 is faster; medians of interleaved rounds; useful FLOPs"
        f" only. Group lines are geometric means. {peak_sentence(rows)}",
        f"Repeat: `{result['command']}`",
        summary_table(rows),
        kind_table(rows),
        layer_table(rows),
        *filter(None, [bandwidth_table(rows)]),
        *(["Not timed:\n\n" + "\n".join(refused)] if refused else []),
    ]
    return "\n\n".join(parts) + "\n"


def save(result: dict[str, Any], path: Path) -> None:
    """``path`` as JSON, and beside it the Markdown report and the plot."""
    save_json(result, path)
    path.with_suffix(".md").write_text(markdown(result))
    plot(result, path.with_suffix(".svg"))


def save_json(result: dict[str, Any], path: Path) -> None:
    """``result`` as JSON, in a folder that is made where it lacks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


def publish(text: str, result: dict[str, Any], path: Path | None) -> None:
    """Print a report; with a path, write it there as JSON, and beside that as Markdown."""
    print(text)
    if path:
        save_json(result, path)
        path.with_suffix(".md").write_text(text)


def plot(result: dict[str, Any], path: Path) -> None:
    """One line a layer: the ratios to torch of all engines, on a logarithmic axis."""
    rows = result["layers"]
    names = [name for name in engine_names(rows) if name != REFERENCE]
    labels = [f"{row['group']}/{row['name']}" for row in rows]
    figure, axes = new_figure(9, 1.5 + 0.16 * len(rows))
    for name in sorted(names, key=lambda name: name == OWN):  # miniconv's points lie on top
        found = ratios(rows, name)
        style = {"s": 26, "marker": "D"} if name == OWN else {"s": 12, "alpha": 0.7}
        axes.scatter(list(found.values()), [labels.index(label) for label in found], label=name, **style)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(labels)), labels, fontsize=6)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(axis="x", linewidth=0.3)
    axes.set_xlabel(f"torch's time over the engine's ({thread_count(result['machine'])}, {result['dtype']})")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    """An empty figure and its axes (an array of them for several columns), drawn without a screen."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "miniconv"  # the same picture from the same figures
    from matplotlib import pyplot

    return pyplot.subplots(1, columns, figsize=(width, height), sharey=True)
