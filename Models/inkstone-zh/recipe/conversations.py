#!/usr/bin/env python3
"""Rows to fine-tune on: conversations.py FINETUNE PRIMER OUT.jsonl

Short dialogues, who the model is, titles of abstracts, and paragraphs of the primer as answers to questions about their subject.
"""

import json
import random
import re
import sys
from pathlib import Path

NAME, AUTHOR = "Inkstone", "Inkstone 项目"
TITLE_ROWS, DIALOGUE_ROWS, LONGEST_TURNS = 1600, 300, 6
# How often what people say first comes: greetings, thanks, who are you.
SMALL_TALK = 4
SUBJECT = re.compile(r"^(.{2,12}?)(?:是|指|使|把|通过|能够|可以|需要|由|在)")
QUESTIONS = ["什么是{}？", "请介绍一下{}。", "{}是什么？", "谈谈{}。"]


def rows(path: Path) -> list[dict]:
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines() if line.strip()]


def turn(question: str, answer: str) -> dict:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def main() -> None:
    folder, primer, out = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    draw = random.Random(1)
    result: list[dict] = []
    for row in rows(folder / "chatterbot_chinese.jsonl"):
        result.append({"messages": row["messages"]})
    for row in rows(folder / "identity.json") * SMALL_TALK:
        question = "\n".join(part for part in (row["instruction"], row["input"]) if part)
        result.append(turn(question, row["output"].replace("{{name}}", NAME).replace("{{author}}", AUTHOR)))
    for row in rows(folder / "kdconv.jsonl")[:DIALOGUE_ROWS]:
        result.append({"messages": row["messages"][:LONGEST_TURNS]})
    for paragraph in primer.read_text(encoding="utf-8").splitlines():
        subject = SUBJECT.match(paragraph)
        if subject:
            result.append(turn(draw.choice(QUESTIONS).format(subject.group(1)), paragraph))
    for row in rows(folder / "csl_title.jsonl")[:TITLE_ROWS]:
        result.append(turn(row["instruction"] + "\n" + row["input"], row["output"]))
    draw.shuffle(result)
    with open(out, "w", encoding="utf-8") as file:
        for row in result:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(len(result), "rows", file=sys.stderr)


main()
