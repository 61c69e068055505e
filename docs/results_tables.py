"""The directives ``support-table`` and ``speed-tables``, and the pages of what ``bench`` wrote: made at every build."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from sphinx.util.docutils import SphinxDirective

from miniconv import ConvProblem
from miniconv.algorithms import ALGORITHMS
from miniconv.plan import ENGINE, plan

HERE = Path(__file__).parent
RESULTS = HERE.parent / "bench" / "results"
MEASURED = HERE / "results" / "measured"

KINDS = {
    "1d": "conv1d c4 o6 i9 k3 float32",
    "2d, 3x3": "conv2d c4 o6 i7x9 k3x3 float32",
    "2d, 3x2": "conv2d c4 o6 i7x9 k3x2 float32",
    "3d": "conv3d c4 o6 i5x6x4 k2x3x1 float32",
    "stride": "conv2d c4 o6 i7x9 k3x3 s2x3 float32",
    "padding": "conv2d c4 o6 i7x9 k3x3 p1x2 float32",
    "dilation": "conv2d c4 o6 i7x9 k3x3 d2x1 float32",
    "groups": "conv2d c4 o6 i7x9 k3x3 g2 float32",
    "depthwise": "conv2d c5 o5 i7x9 k3x3 g5 float32",
    "transposed": "conv_transpose2d c4 o6 i7x9 k3x3 s2x3 op1x2 float32",
    "float64": "conv2d c4 o6 i7x9 k3x3 float64",
    "bfloat16": "conv2d c4 o6 i7x9 k3x3 bfloat16",
    "int64": "conv2d c4 o6 i7x9 k3x3 int64",
    "complex64": "conv2d c4 o6 i7x9 k3x3 complex64",
}
"""One problem of each kind, by what is special about it."""


def reason(problem, algorithm):
    """Why the algorithm refuses the problem, in the plan's words; None if it does not."""
    try:
        plan(problem, algorithm)
    except ValueError as error:
        return str(error).partition(": ")[2]
    return None


def table(header, rows):
    """Lines of a table in Markdown."""
    return ["", *(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)), ""]


class SupportTable(SphinxDirective):
    """Algorithms by kinds of problems, and every reason below."""

    def run(self):
        problems = {kind: ConvProblem.parse(text) for kind, text in KINDS.items()}
        names = [ENGINE, *ALGORITHMS]
        reasons = {name: {kind: reason(problem, name) for kind, problem in problems.items()} for name in names}
        rows = [[f"`{name}`", *("no" if said else "yes" for said in reasons[name].values())] for name in names]
        lines = table(["algorithm", *KINDS], rows)
        lines += ["The reasons, in the algorithms' own words:", ""]
        for name in names:
            told = list({said.partition(", but")[0]: said for said in reasons[name].values() if said}.values())
            lines += [f"- `{name}`: {'; '.join(told)}" for _ in told[:1]]
        return self.parse_text_to_nodes("\n".join([*lines, ""]))


class SpeedTables(SphinxDirective):
    """The summaries of every benchmark of layers, of the same engines side by side."""

    def run(self):
        lines = []
        for path in sorted(RESULTS.glob("layers-*.json")):
            self.env.note_dependency(path)
            result = json.loads(path.read_text("utf-8"))
            machine = result["machine"]
            everything = result["summary"]["all layers"]["geometric_mean"]
            engines = [name for name in everything if name != "torch"]
            versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
            threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
            lines += [f"**{result['dtype']}, {threads}**: {machine['cpu']}, {machine['cores']} cores,"]
            lines += [f"{machine['system']}; {versions}; {machine['date']}. `{result['command']}`", ""]
            rows = []
            for name, group in result["summary"].items():
                means = group["geometric_mean"]
                cells = [f"{means[engine]:.2f}" if engine in means else "" for engine in engines]
                worst, ratio = next(iter(group["worst"].items()))
                rows.append([name, str(group["layers"]), *cells, f"{worst.partition('/')[2]} {ratio:.2f}"])
            lines += table(["network", "layers", *engines, "miniconv's slowest"], rows)
            lines += [f"[Every layer](measured/{path.stem}.md)", ""]
        return self.parse_text_to_nodes("\n".join(lines))


def copy_results(app):
    """What ``bench`` wrote in Markdown, as pages."""
    shutil.rmtree(MEASURED, ignore_errors=True)
    MEASURED.mkdir(parents=True)
    for path in sorted(RESULTS.glob("*.md")):
        shutil.copy(path, MEASURED)


def setup(app):
    """Sphinx's entry point."""
    app.add_directive("support-table", SupportTable)
    app.add_directive("speed-tables", SpeedTables)
    app.connect("builder-inited", copy_results, priority=400)
    return {"parallel_read_safe": True}
