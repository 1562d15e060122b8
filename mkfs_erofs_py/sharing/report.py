"""What sharing saves, as table, JSON, CSV, HTML and chart: the output of ``share`` and ``dedup``."""

from __future__ import annotations

import csv
import html
import io
import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import replace

from ..errors import UsageError, printable
from ..files.output import write_file
from .predict import Saving, Savings

__all__ = [
    "as_json",
    "chart",
    "export",
    "matrix_table",
    "shorten",
    "table",
    "top_table",
]

MB = 1 << 20


def shorten(names: Sequence[str]) -> dict[str, str]:
    """Return for each path the shortest end, in whole parts, that tells it from the others."""
    parts = {name: os.path.normpath(name).split(os.sep) for name in names}
    short = {}
    for name, own in parts.items():
        depth = 1
        while depth < len(own) and any(
            other != name and theirs[-depth:] == own[-depth:] for other, theirs in parts.items()
        ):
            depth += 1
        short[name] = os.sep.join(own[-depth:])
    return short


def _label(saving: Saving, short: dict[str, str], everything: int) -> str:
    if len(saving.images) == everything and everything > 2:
        return f"all {everything} images"
    return " & ".join(short[name] for name in saving.images)


def _rows(answer: Savings) -> list[Saving]:
    """Return the pairs and all together, which for two images are the same."""
    if [set(pair.images) for pair in answer.pairs] == [set(answer.total.images)]:
        return [*answer.pairs]
    return [*answer.pairs, answer.total]


def table(answer: Savings, most: int = 28) -> str:
    """Return the table that page cache sharing was proposed with: memory in MB (2^20 bytes), reduction in %.

    Of more than ``most`` pairs, those are shown that save the most.
    """
    short = shorten(answer.total.images)
    left_out = len(answer.pairs) - most
    if left_out > 0:
        answer = replace(answer, pairs=sorted(answer.pairs, key=lambda pair: -pair.saved_bytes)[:most])
    head = [("", "Page Cache", "Memory", "Memory"), ("Image", "Share", "(MB)", "Reduction (%)")]
    body = []
    for saving in _rows(answer):
        label = _label(saving, short, len(answer.total.images))
        body.append(("", "No", f"{saving.without_bytes / MB:.1f}", "-"))
        body.append((label, "Yes", f"{saving.with_bytes / MB:.1f}", f"{100 * saving.reduction:.1f}"))
    widths = [max(len(row[column]) for row in head + body) for column in range(4)]
    rule = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    inner = "|" + " " * (widths[0] + 2) + "+" + rule.split("+", 2)[2]
    lines = [rule]
    lines += [
        "| " + " | ".join(cell.center(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in head
    ]
    lines.append(rule)
    for number, row in enumerate(body):
        cells = [row[0].ljust(widths[0]), row[1].center(widths[1]), row[2].rjust(widths[2]), row[3].rjust(widths[3])]
        lines.append("| " + " | ".join(cells) + " |")
        lines.append(rule if number % 2 else inner)
    if left_out > 0:
        lines.append(f"({left_out} pairs that save less are left out)")
    return "\n".join(lines)


def matrix_table(answer: Savings, most: int = 12) -> str:
    """Return what each pair has in common, in MB, or an empty string for more than ``most`` images."""
    names = [image.images[0] for image in answer.images]
    if not 2 < len(names) <= most:
        return ""
    short = shorten(names)
    cells = _common(answer)
    first = max(len(short[name]) for name in names) + 4
    lines = ["Saved by each pair (MB):", " " * first + "".join(f"{number:>9}" for number in range(1, len(names) + 1))]
    for number, name in enumerate(names):
        row = [f"{cells[number, other] / MB:.1f}" if (number, other) in cells else "-" for other in range(len(names))]
        lines.append(f"{number + 1:>2} {short[name]}".ljust(first) + "".join(f"{cell:>9}" for cell in row))
    return "\n".join(lines)


def _common(answer: Savings) -> dict[tuple[int, int], int]:
    number = {image.images[0]: at for at, image in enumerate(answer.images)}
    cells = {}
    for pair in answer.pairs:
        a, b = (number[name] for name in pair.images)
        cells[a, b] = cells[b, a] = pair.saved_bytes
    return cells


def top_table(answer: Savings) -> str:
    """Return the files that save the most, a line each."""
    if not answer.top:
        return ""
    lines = ["Files that save the most:", "   saved MB   copies  images  path"]
    lines += [f"{f.saved_bytes / MB:11.2f} {f.copies:8} {f.images:7}  {printable(f.path)}" for f in answer.top]
    return "\n".join(lines)


def as_json(answer: Savings) -> str:
    """Return the answer as JSON text."""
    return json.dumps(answer.as_dict(), indent=2)


def _as_csv(answer: Savings) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "other", "without_bytes", "with_bytes", "saved_bytes", "reduction"])
    for saving in answer.pairs:
        writer.writerow(
            [*saving.images, saving.without_bytes, saving.with_bytes, saving.saved_bytes, f"{saving.reduction:.6f}"]
        )
    return text.getvalue()


def _as_html(answer: Savings) -> str:
    names = [image.images[0] for image in answer.images]
    short = {name: html.escape(text) for name, text in shorten(names).items()}
    cells = _common(answer)
    most = max(cells.values(), default=0) or 1
    rows = []
    for a, name in enumerate(names):
        row = [f'<th title="{html.escape(name)}">{a + 1} {short[name]}</th>']
        for b in range(len(names)):
            saved = cells.get((a, b))
            shade = "" if saved is None else f' style="background:rgba(46,125,50,{0.85 * saved / most:.3f})"'
            row.append(f"<td{shade}>{'' if saved is None else f'{saved / MB:.1f}'}</td>")
        rows.append(f"<tr>{''.join(row)}</tr>")
    numbers = "".join(f'<th title="{html.escape(name)}">{n}</th>' for n, name in enumerate(names, 1))
    files = "".join(
        f"<tr><td>{f.saved_bytes / MB:.2f}</td><td>{f.copies}</td><td>{f.images}</td>"
        f"<td class=p>{html.escape(printable(f.path))}</td></tr>"
        for f in answer.top
    )
    total = answer.total
    return (
        "<!doctype html><meta charset=utf-8><title>Page cache sharing</title>"
        "<style>body{font:14px sans-serif;margin:2em}td,th{padding:2px 6px;text-align:right;font-weight:normal}"
        "th:first-child,.p{text-align:left}table{border-collapse:collapse;margin:1em 0}</style>"
        "<h1>Page cache sharing</h1>"
        f"<p>{len(names)} images: {total.without_bytes / MB:.1f} MB without sharing, {total.with_bytes / MB:.1f} MB "
        f"with it, {100 * total.reduction:.1f} % less.</p>"
        f"<h2>Saved by each pair (MB)</h2><table><tr><th></th>{numbers}</tr>{''.join(rows)}</table>"
        "<h2>Files that save the most</h2><table><tr><th>MB</th><th>copies</th><th>images</th><th class=p>path</th>"
        f"</tr>{files}</table>\n"
    )


def export(answer: Savings, path: str) -> None:
    """Write the answer to ``path`` as its suffix says: ``.csv`` (a line a pair), ``.json`` or ``.html``.

    Raises ``UsageError`` for another suffix, ``OutputError``.
    """
    forms = {".csv": _as_csv, ".json": lambda answer: as_json(answer) + "\n", ".html": _as_html}
    form = forms.get(os.path.splitext(path)[1].lower())
    if form is None:
        raise UsageError(f"{printable(path)}: export to a file ending in .csv, .json or .html")
    write_file(path, form(answer).encode())


def chart(answer: Savings, path: str) -> None:
    """Draw the table as bars, into an SVG file, or PNG where matplotlib is installed.

    Raises ``UsageError`` for another suffix or without matplotlib, ``OutputError``.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".svg":
        write_file(path, _svg(answer).encode())
    elif suffix == ".png":
        _png(answer, path)
    else:
        raise UsageError(f"{printable(path)}: plot to a file ending in .svg or .png")


def _bars(answer: Savings, most: int = 40) -> list[tuple[str, Saving]]:
    """Return what is drawn: the pairs that save the most, and all together."""
    short = shorten(answer.total.images)
    rows = sorted(_rows(answer), key=lambda saving: (-len(saving.images), -saving.saved_bytes))[:most]
    return [(_label(saving, short, len(answer.total.images)), saving) for saving in rows]


def _svg(answer: Savings) -> str:
    bars = _bars(answer)
    left, width, step = 20 + 7 * max((len(label) for label, _ in bars), default=0), 480, 44
    most = max((saving.without_bytes for _, saving in bars), default=0) or 1
    high = 60 + step * len(bars)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 150}" height="{high}">',
        "<style>text{font:12px sans-serif}</style>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="24">Page cache for reading every file (MB)</text>',
    ]
    for number, (label, saving) in enumerate(bars):
        y = 44 + step * number
        long, short = (width * amount / most for amount in (saving.without_bytes, saving.with_bytes))
        shared = f"{saving.with_bytes / MB:.1f} shared, {100 * saving.reduction:.1f} % less"
        parts += [
            f'<text x="{left - 8}" y="{y + 20}" text-anchor="end">{html.escape(label)}</text>',
            f'<rect x="{left}" y="{y}" width="{long:.1f}" height="15" fill="#b0bec5"/>',
            f'<text x="{left + long + 6:.1f}" y="{y + 12}">{saving.without_bytes / MB:.1f}</text>',
            f'<rect x="{left}" y="{y + 16}" width="{short:.1f}" height="15" fill="#2e7d32"/>',
            f'<text x="{left + short + 6:.1f}" y="{y + 28}">{shared}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def _png(answer: Savings, path: str) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("PNG charts need matplotlib: install mkfs-erofs-py[plot], or plot to .svg") from error
    bars = _bars(answer)[::-1]
    figure = Figure(figsize=(9, 1.2 + 0.6 * len(bars)), layout="constrained")
    axes = figure.subplots()
    places = list(itertools.accumulate([1.0] * len(bars)))
    for shift, colour, name, amounts in (
        (0.2, "#b0bec5", "without sharing", [saving.without_bytes for _, saving in bars]),
        (-0.2, "#2e7d32", "shared", [saving.with_bytes for _, saving in bars]),
    ):
        axes.barh([at + shift for at in places], [n / MB for n in amounts], 0.38, color=colour, label=name)
    axes.set_yticks(places, [label for label, _ in bars])
    axes.set_xlabel("page cache for reading every file (MB)")
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_file(path, picture.getvalue())
