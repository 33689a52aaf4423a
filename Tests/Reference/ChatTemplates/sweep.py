"""Renders many random cases with transformers and jinja2, for `ChatTemplatesTests` to repeat.

    python sweep.py --templates FOLDER --count 3000 --seed 1 --out cases.json
    INKSTONE_TEMPLATE_CASES=cases.json swift test --filter SweepTests

FOLDER holds *.jinja files and tokenizer_config.json files (*.json) with a chat_template; without it, the committed
templates are used. Three kinds of cases come out: conversations laid out by each template, random templates from a
grammar, and templates with random cuts.
"""

import argparse
import json
import pathlib
import random

import conversations
import grammar
import reference


def load(folder):
    templates = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.suffix in (".jinja", ".jinja2"):
            templates[path.name] = path.read_text(encoding="utf-8")
        elif path.suffix == ".json":
            found = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
            if isinstance(found, str):
                templates[path.name] = found
    return templates


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = pathlib.Path(__file__).parent
    parser.add_argument("--templates", default=here / "templates")
    parser.add_argument("--count", type=int, default=1000, help="cases of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default="conversations,grammar,mutations")
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    r = random.Random(options.seed)
    templates = load(options.templates)
    names = list(templates)
    cases = []
    if "conversations" in options.kinds:
        for index in range(options.count):
            case = conversations.case(r)
            for name in names:
                cases.append({"name": f"{name} {index}", "template": name, **case, **reference.apply(templates[name], case)})
    sources = []
    if "grammar" in options.kinds:
        sources += [("grammar", grammar.template(r), grammar.VARIABLES) for _ in range(options.count)]
    if "mutations" in options.kinds:
        for _ in range(options.count):
            case = conversations.case(r)
            variables = {"messages": case["messages"], "add_generation_prompt": True, "bos_token": "<s>", "tools": case.get("tools")}
            sources.append(("mutation", grammar.mutated(r, templates[r.choice(names)]), variables))
    for index, (kind, source, variables) in enumerate(sources):
        result = reference.render(source, variables)
        # An object's address means nothing to another run.
        if " at 0x" in result["expected"]:
            continue
        key = f"{kind}-{index}"
        templates[key] = source
        cases.append({"name": key, "template": key, "variables": variables, **result})
    document = {"versions": reference.VERSIONS, "templates": templates, "cases": cases}
    pathlib.Path(options.out).write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    print(f"{len(cases)} cases, {sum('error' in case for case in cases)} of them errors")


if __name__ == "__main__":
    main()
