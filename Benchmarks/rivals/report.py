"""The results as a table and a chart."""

from __future__ import annotations

from html import escape
from typing import Any

Row = dict[str, Any]


def number(value: float) -> str:
    """Three or four digits, as a table wants them."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def verdict(row: Row) -> str:
    """The floor that the row is held to, and whether it is met."""
    target = row.get("target")
    if target is None:
        return ""
    of_limit = row.get("of_limit") or 0
    by_limit = row.get("limit_target") is not None and of_limit >= row["limit_target"]
    met = row["ratio"] >= target or by_limit
    return f"{target:g} × {'met' if row['ratio'] >= target else 'met (limit)' if met else 'missed'}"


def markdown(rows: list[Row], description: list[str]) -> str:
    """One table per section."""
    text = ["# Inkstone beside other engines", "", *description, ""]
    section = None
    for row in rows:
        if row["section"] != section:
            section = row["section"]
            text += [
                f"## {section}", "", "| test | Inkstone | of limit | beside | its figure | ratio | quartiles | floor |",
                "|---|---:|---:|---|---:|---:|---|---|"]  # fmt: skip
        limit = f"{100 * row['of_limit']:.0f} %" if row.get("of_limit") else ""
        text.append(
            f"| {row['test']} | {number(row['ours'])} {row['unit']} | {limit} | {row['rival']} |"
            f" {number(row['theirs'])} | **{row['ratio']:.2f}** |"
            f" {row['quartiles'][0]:.2f}–{row['quartiles'][1]:.2f} | {verdict(row)} |")
        if row is rows[-1] or rows[rows.index(row) + 1]["section"] != section:
            text.append("")
    return "\n".join(text)


def chart(rows: list[Row]) -> str:
    """Bars of the ratios, with the share of the limit beside each; the line is equal speed."""
    width, label, line = 1040, 450, 19
    largest = max((row["ratio"] for row in rows), default=1.0)
    scale = min(90.0, (width - label - 150) / max(largest, 1.0))
    parts, y, section = [], 34, None
    for row in rows:
        if row["section"] != section:
            section = row["section"]
            y += 12
            parts.append(f'<text x="8" y="{y}" font-weight="bold">{escape(section)}</text>')
            y += line
        length = row["ratio"] * scale
        colour = "#2f6f8f" if row["ratio"] >= 1 else "#b5651d"
        limit = f" · {100 * row['of_limit']:.0f} % of limit" if row.get("of_limit") else ""
        name = escape(f"{row['test']} / {row['rival']}")
        parts.append(f'<text x="{label - 8}" y="{y}" text-anchor="end">{name}</text>')
        parts.append(f'<rect x="{label}" y="{y - 11}" width="{length:.1f}" height="13" fill="{colour}"/>')
        parts.append(f'<text x="{label + length + 6:.1f}" y="{y}">{row["ratio"]:.2f}{limit}</text>')
        y += line
    equal = label + scale
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y + 8}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{y + 8}" fill="white"/>',
        '<text x="8" y="20" font-size="15" font-weight="bold">'
        "How many times as fast (or as small) as other engines</text>",
        f'<line x1="{equal:.1f}" y1="28" x2="{equal:.1f}" y2="{y}" stroke="#888" stroke-dasharray="3 3"/>',
        *parts, "</svg>", ""])  # fmt: skip
