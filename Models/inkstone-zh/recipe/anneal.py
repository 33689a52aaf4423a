#!/usr/bin/env python3
"""What the last two runs read: anneal.py anneal|polish DOCUMENTS HELD_OUT.jsonl OUT.jsonl

Connected prose first of all: the primer and the textbooks, whole and begun at a sentence in their midst, above all at those that
say what something is, for that is how prompts begin; beside them a little of the rest, so that it is not forgotten. The very last
run reads the primer above all, and most often the first paragraph on each subject. What is held out stays out.
"""

import json
import random
import re
import sys
from pathlib import Path

SENTENCE = re.compile(r"[^。！？!?]+[。！？!?]*")
# "X is ...", where X is a name and not a word that points back.
DEFINITION = re.compile(r"[A-Za-z0-9一-鿿（）()、\- “”]{2,16}?(?:是|指|（[A-Za-z ,\-]+）是)(?!否|不|因为|由于|这|那|说|什么)")
SUBJECT = re.compile(r"([^。，：！？,.]{2,24}?)(?:是|（| is | are )")
BACK = re.compile(
    "[这那它其此该我你他她您在当对从为以就都也还有如但而因于并与或及另最一下上同则即可只再又更将把被让使由]"
    "|首先|接|之|通常|例如|换|总|无论|具体|本|图|表|第|结果|所以|注意|假设|需要|好消息|坏消息"
)


def texts(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


def definitions(text: str) -> list[str]:
    """The rest of each line from its first sentence that says what something is."""
    found = []
    for line in text.split("\n"):
        sentences = SENTENCE.findall(line)
        for index, sentence in enumerate(sentences):
            if DEFINITION.match(sentence) and not BACK.match(sentence):
                rest = "".join(sentences[index:]).strip()
                if len(rest) >= 40:
                    found.append(rest)
                break
    return found


def first_of_each(paragraphs: list[str]) -> list[str]:
    """The first paragraph that begins by saying what something is, for each such thing."""
    found: dict[str, str] = {}
    for text in paragraphs:
        if subject := SUBJECT.match(text):
            found.setdefault(subject[1], text)
    return list(found.values())


def later_start(text: str, generator: random.Random) -> list[str]:
    """The text from one of its sentences after the first."""
    sentences = SENTENCE.findall(text)
    if len(sentences) < 3:
        return []
    return ["".join(sentences[generator.randrange(1, len(sentences) - 1) :]).strip()]


def main() -> None:
    run, folder, held_out, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    kept_back = {text.strip() for text in texts(held_out)}
    generator = random.Random({"anneal": 3, "polish": 4}[run])

    def documents(name: str, every: int) -> list[str]:
        return [text for text in texts(folder / f"{name}.jsonl") if text.strip() not in kept_back][::every]

    primer, books = documents("primer", 1), documents("ai", 1)
    if run == "anneal":
        chosen = primer * 3 + books + documents("questions", 4) + documents("stories", 2) + documents("java", 8)
        later_starts = 1
    else:
        chosen = primer * 6 + first_of_each(primer) * 8 + books[::5] + documents("stories", 8) + documents("questions", 20)
        later_starts = 2
    for text in primer * later_starts:
        chosen += later_start(text, generator)
    for text in books:
        chosen += definitions(text)
    generator.shuffle(chosen)
    with open(out, "w", encoding="utf-8") as file:
        for text in chosen:
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    print(len(chosen), "documents", file=sys.stderr)


main()
