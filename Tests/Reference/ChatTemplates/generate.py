"""Makes the committed fixtures: `features.json` (small templates, a construct or two each) and `conversations.json`
(the templates of this folder over random conversations), with what transformers and jinja2 make of them.

    python generate.py
"""

import json
import pathlib
import random

import conversations
import features
import grammar
import reference

HERE = pathlib.Path(__file__).parent
SEED = 20


def write(name, document):
    lines = json.dumps(document["cases"], ensure_ascii=False)
    lines = "[\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in document["cases"]) + "\n]"
    head = {key: value for key, value in document.items() if key != "cases"}
    text = json.dumps(head, ensure_ascii=False, indent=1)[:-2] + ',\n "cases": ' + lines + "\n}\n"
    (HERE / name).write_text(text, encoding="utf-8")
    print(name, len(document["cases"]), "cases,", len(text), "characters")


def main():
    r = random.Random(SEED)
    sources = list(features.TEMPLATES) + [grammar.template(r) for _ in range(250)]
    cases = []
    for source in sources:
        result = reference.render(source, grammar.VARIABLES)
        if " at 0x" not in result["expected"] and len(result["expected"]) < 1500:
            cases.append({"template": source, **result})
    head = {"versions": reference.VERSIONS, "seed": SEED, "moment": reference.MOMENT}
    write("features.json", {**head, "variables": grammar.VARIABLES, "cases": cases})

    cases = []
    templates = {path.stem: path.read_text(encoding="utf-8") for path in sorted((HERE / "templates").glob("*.jinja"))}
    for index in range(40):
        case = conversations.case(r)
        cases.append({**case, "results": {name: reference.apply(source, case) for name, source in templates.items()}})
    write("conversations.json", {**head, "cases": cases})


if __name__ == "__main__":
    main()
