#!/usr/bin/env python3
"""What the last run reads: anneal.py DOCUMENTS HELD_OUT.jsonl OUT.jsonl

Connected prose alone: the primer four times over, every third document of the textbooks, every fifth story; no questions, whose
lines end too soon. What is held out stays out.
"""

import json
import random
import sys
from pathlib import Path


def texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    folder, held_out, out = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    kept_back = {text.strip() for text in texts(held_out)}

    def documents(name: str, every: int) -> list[str]:
        return [text for text in texts(folder / f"{name}.jsonl")[::every] if text.strip() not in kept_back]

    chosen = documents("primer", 1) * 4 + documents("ai", 3) + documents("stories", 5)
    random.Random(3).shuffle(chosen)
    with open(out, "w", encoding="utf-8") as file:
        for text in chosen:
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    print(len(chosen), "documents", file=sys.stderr)


main()
