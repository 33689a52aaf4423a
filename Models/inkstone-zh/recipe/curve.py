#!/usr/bin/env python3
"""The loss curve of several runs, one after the other: curve.py OUT.svg RUN..."""

import json
import sys
from pathlib import Path

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 300, 46, 16, 12, 34


def main() -> None:
    out, *runs = sys.argv[1:]
    training: list[tuple[float, float]] = []
    validation: list[list[tuple[float, float]]] = []
    edges = [0]
    for run in runs:
        points, start = [], edges[-1]
        # A run that was resumed says some steps twice; the later word counts.
        by_step: dict[int, float] = {}
        for line in (Path(run) / "metrics.jsonl").read_text().splitlines():
            record = json.loads(line)
            if record["type"] == "step":
                by_step[record["step"]] = record["loss"]
            elif record["type"] == "validation":
                points.append((start + record["step"], record["loss"]))
        steps = sorted(by_step)
        for index in range(0, len(steps), 20):
            part = steps[index : index + 20]
            training.append((start + part[-1], sum(by_step[step] for step in part) / len(part)))
        validation.append(points)
        edges.append(start + steps[-1])
    low, high = 1.5, 8.0

    def x(step: float) -> float:
        return LEFT + step / edges[-1] * (WIDTH - LEFT - RIGHT)

    def y(loss: float) -> float:
        return TOP + (high - min(max(loss, low), high)) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def line(points: list[tuple[float, float]], colour: str, width: float) -> str:
        path = " ".join(f"{x(step):.1f},{y(loss):.1f}" for step, loss in points)
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for loss in range(2, 9):
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(loss)}" y2="{y(loss)}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(loss) + 4}" text-anchor="end">{loss}</text>')
    for edge in edges[1:-1]:
        parts.append(f'<line x1="{x(edge):.1f}" x2="{x(edge):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#888" stroke-dasharray="3 3"/>')
    for step in range(0, edges[-1] + 1, 1000):
        parts.append(f'<text x="{x(step):.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{step}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">steps; nats per token; dashed: where a run begins</text>')
    parts.append(line(training, "#b9c7d6", 1))
    parts += [line(points, "#2f6f8f", 2) for points in validation if points]
    parts.append(f'<text x="{LEFT + 8}" y="{HEIGHT - 4}" fill="#2f6f8f">validation</text>')
    parts.append(f'<text x="{LEFT + 78}" y="{HEIGHT - 4}" fill="#8aa0b5">training, means of 20 steps</text>')
    Path(out).write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


main()
