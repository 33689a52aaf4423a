"""Random templates: from a grammar whose expressions mostly make sense, and from cutting given ones about."""

import random

VARIABLES = {
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "  Hi\n", "n": 3},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1, "B": [1, 2]}}}]},
        {"role": "tool", "content": [{"type": "text", "text": "ok"}, {"type": "image"}], "items": "shadow"},
    ],
    "n": 7, "m": -3, "z": 0, "x": 2.5, "y": 1e16, "t": True, "o": None,
    "s": "Hello wörld", "e": "", "w": "  two  words\n", "u": "straße ΣΑΣ ﬁ ǆ", "j": 'q"\'\\\n\t\x7f\u2028é😀',
    "l": [3, 1, 2, 1], "ls": ["b", "A", "a", "B"], "ll": [[1, 2], [3, 4], [5, 6]], "le": [],
    "d": {"k": "v", "B": 2, "a": 1.0, "nested": {"deep": [1, {"x": None}]}}, "de": {},
    "mixed": [1, "a", None, True, 2.0, [1], {"k": 1}], "items": [{"a": 1, "b": "x"}, {"a": 2}, {"a": None, "b": "Y"}],
}
NAMES = list(VARIABLES) + ["missing", "loop", "ns"]
FILTERS = [
    "upper", "lower", "title", "capitalize", "trim", "length", "count", "list", "string", "int", "float", "abs", "round",
    "first", "last", "reverse", "sort", "unique", "sum", "min", "max", "join", "tojson", "items", "dictsort", "default",
    "d", "e", "escape", "safe", "indent", "wordcount", "batch", "slice", "groupby", "map", "select", "reject", "selectattr",
    "rejectattr", "replace", "format", "center", "attr", "truncate", "urlencode", "xmlattr", "filesizeformat", "striptags",
    "forceescape",
]
TESTS = [
    "defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "true", "false", "mapping", "iterable",
    "sequence", "callable", "lower", "upper", "odd", "even", "escaped", "filter", "test",
]
TESTS_WITH = ["eq", "ne", "lt", "le", "gt", "ge", "equalto", "sameas", "in", "divisibleby", "==", "!="]
STRING_METHODS = [
    "upper()", "lower()", "title()", "capitalize()", "swapcase()", "strip()", "lstrip()", "rstrip()", "strip('Hd ')", "split()",
    "split('l')", "split(' ', 1)", "split(none, 1)", "rsplit(' ', 1)", "rsplit(none, 1)", "rsplit()", "splitlines()", "splitlines(true)",
    "startswith('H')", "startswith(('H', 'b'))", "endswith('d')", "endswith('d', 0, 3)", "find('l')", "find('l', 4)", "rfind('l')",
    "find('')", "index('z')", "count('l')", "count('')", "replace('l', 'L')", "replace('', '-')", "replace('l', 'L', 1)", "join(ls)", "join(l)",
    "isdigit()", "isalpha()", "isupper()", "islower()", "isspace()", "isalnum()", "istitle()", "isnumeric()", "isdecimal()", "isidentifier()",
    "isprintable()", "isascii()", "removeprefix('He')", "removesuffix('ld')", "partition('o')", "rpartition('o')", "center(20)",
    "center(21, '*')", "ljust(15, '.')", "rjust(15)", "zfill(14)", "expandtabs()", "expandtabs(3)", "format(1)", "encode", "casefold", "foo", "foo()",
    "__class__", "_x",
]
LITERALS = [
    "0", "1", "2", "-1", "10", "1_000", "0x1F", "0b101", "0o17", "1.5", "2e3", "1.5e-3", "'a'", '"b"', "'it\\'s'", "'\\n\\t'",
    "'\\u4e2d\\x41'", "'é\\d'", "true", "false", "none", "True", "None", "[]", "[1, 2, 3]", "['a', 'b']", "()", "(1,)", "(1, 'x')", "{}",
    "{'a': 1}", "{'a': 1, 'b': [2]}", "[1, 'a', none]", "'%s-%s'", "'%05.2f'", "'{} {}'", "'{0:>5}|{x:.2f}'", "'<b>&amp;'", "1e16", "'12'", "' 3.7 '", "'0x1f'",
]


class Grammar:
    def __init__(self, r):
        self.r = r
        self.names = list(NAMES)

    def pick(self, *options):
        return self.r.choice(options)

    def expression(self, depth=0):
        r = self.r
        if depth > 3 or r.random() < 0.25:
            return r.choice(self.names) if r.random() < 0.6 else r.choice(LITERALS)
        kind = r.randrange(17)
        sub = lambda: self.expression(depth + 1)
        if kind == 0:
            return f"{sub()} {r.choice(['+', '-', '*', '/', '//', '%', '**', '~', '+', '~'])} {sub()}"
        if kind == 1:
            return f"({sub()})"
        if kind == 2:
            return f"{sub()} {r.choice(['==', '!=', '<', '<=', '>', '>=', 'in', 'not in'])} {sub()}"
        if kind == 3:
            return f"{sub()} {r.choice(['and', 'or'])} {sub()}"
        if kind == 4:
            return f"{r.choice(['not ', '-', '+'])}{sub()}"
        if kind == 5:
            return f"{sub()} if {sub()}" + (f" else {sub()}" if r.random() < 0.8 else "")
        if kind == 6:
            key = r.choice(["role", "content", "k", "a", "b", "items", "keys", "get", "tool_calls", "x", "index", "nested", "0", "length", "upper", "append", "update"])
            return f"{self.primary(depth)}.{key}"
        if kind == 7:
            return f"{self.primary(depth)}[{sub()}]"
        if kind == 8:
            part = lambda: r.choice(["", "", "0", "1", "-1", "2", "-2", "10", "none", "n"])
            # Not of literals: jinja2 folds those, and prints nothing for a constant that cannot be cut.
            return f"{r.choice(self.names)}[{part()}:{part()}" + (f":{r.choice(['1', '-1', '2', '-2', '', '0', '3'])}" if r.random() < 0.5 else "") + "]"
        if kind in (9, 10, 11):
            return f"{self.primary(depth)}|{self.filter(depth)}"
        if kind == 12:
            negation = r.choice(["", "not "])
            if r.random() < 0.6:
                return f"{self.primary(depth)} is {negation}{r.choice(TESTS)}"
            return f"{self.primary(depth)} is {negation}{r.choice(TESTS_WITH[:-2])}({sub()})"
        if kind == 13:
            return f"{self.pick('s', 'w', 'u', 'j', 'e', self.primary(depth))}.{r.choice(STRING_METHODS)}"
        if kind == 14:
            return self.pick(
                f"range({sub()})", f"range({sub()}, {sub()})", f"range(5, 0, {sub()})", f"dict({sub()})", f"dict(a={sub()}, b=2)", f"d.get({sub()})",
                f"d.get({sub()}, {sub()})", "d.items()", "d.keys()", "d.values()", "d.items()|list", "l.index(1)", "l.count(1)", "l.append(4)", "d.update({})", "d.pop('k')",
                f"namespace(a={sub()})", f"cycler(1, {sub()})", f"joiner({sub()})", "strftime_now('%d %b %Y')", f"raise_exception({sub()})", f"{sub()}({sub()})",
                f"macro0({sub()})", f"macro0({sub()}, b={sub()})", "macro0(*l)", "macro0(**{'a': 1})", "loop.index", "loop.last", "loop.nextitem", "loop.previtem", "loop.cycle('a', 'b')", f"loop.changed({sub()})",
                "loop.length", "loop.revindex0", "ns.v", "ns.q", "x.is_integer()", "n.bit_length()", "ll|map('first')|list", "range(3)|list", "range(9)[::-2]|list", "range(10)[2:8:3]",
            )
        if kind == 15:
            return self.pick(f"[{sub()}, {sub()}]", f"{{{self.pick(repr('k'), 's', sub())}: {sub()}}}", f"({sub()}, {sub()})", f"[{sub()}]|sort", f"({sub()},)")
        return f"{sub()}"

    def primary(self, depth):
        if self.r.random() < 0.6:
            return self.r.choice(self.names)
        if self.r.random() < 0.5:
            return self.r.choice(LITERALS)
        return f"({self.expression(depth + 1)})"

    def filter(self, depth):
        r = self.r
        name = r.choice(FILTERS)
        sub = lambda: self.expression(depth + 2)
        attribute = r.choice(["'a'", "'b'", "'role'", "'content'", "0", "'nested.deep'", "1"])
        arguments = {
            "join": [f"({sub()})", "(', ')", f"(', ', attribute={attribute})", ""],
            "tojson": ["", "(indent=2)", "(indent=0)", "(indent='\t')", "(ensure_ascii=true)", "(sort_keys=true)", "(separators=(',', ':'))", "(indent=4, sort_keys=true)", "(true)", "(false, 1)"],
            "default": [f"({sub()})", f"({sub()}, true)", "('x')", ""], "d": [f"({sub()})", f"({sub()}, boolean=true)"],
            "round": ["", "(1)", "(2, 'ceil')", "(0, 'floor')", "(-1)", f"({sub()})", "(1, 'x')"],
            "int": ["", "(5)", "(0, 16)", "(base=2)", f"({sub()})"], "float": ["", "(1.5)", f"({sub()})"],
            "sort": ["", "(true)", "(reverse=true)", "(case_sensitive=true)", f"(attribute={attribute})"],
            "unique": ["", "(true)", f"(attribute={attribute})"], "min": ["", f"(attribute={attribute})", "(true)"], "max": ["", f"(attribute={attribute})"],
            "sum": ["", f"(attribute={attribute})", f"(start={sub()})", f"({attribute}, 1)"],
            "batch": ["(2)|list", "(2, 'f')|list", f"({sub()})|list", "(3)|map('list')|list"], "slice": ["(2)|list", "(3, 'f')|list", f"({sub()})|list"],
            "groupby": [f"({attribute})", f"({attribute}, default={sub()})", f"({attribute})|map(attribute='grouper')|list", f"({attribute})|map('last')|list"],
            "map": ["('upper')|list", f"(attribute={attribute})|list", f"(attribute={attribute}, default={sub()})|list", "('length')|list", "('tojson')|join", f"('default', {sub()})|list", "(none)|list", "|list", ""],
            "select": ["|list", "('odd')|list", "('string')|list", f"('eq', {sub()})|list", "('defined')|list", "('nope')|list"], "reject": ["|list", "('none')|list", f"('in', {sub()})|list"],
            "selectattr": [f"({attribute})|list", f"({attribute}, 'defined')|list", f"({attribute}, 'equalto', {sub()})|list", "|list"], "rejectattr": [f"({attribute})|list", f"({attribute}, 'none')|list"],
            "replace": ["('l', 'L')", f"({sub()}, {sub()})", "('', '.')", "('l', 'L', 1)"], "format": [f"({sub()})", f"({sub()}, {sub()})", "(a=1)", ""],
            "center": ["", "(20)", f"({sub()})"], "attr": ["('k')", "('items')", "('upper')", f"({sub()})"], "indent": ["", "(2)", "(2, true)", "('> ', true, true)", "(first=true)", f"({sub()})"],
            "truncate": ["", "(8)", "(8, true)", "(8, false, '…', 0)", "(3, leeway=0)"], "dictsort": ["", "(true)", "(false, 'value')", "(reverse=true)", "(by='x')"],
            "items": ["|list", ""], "reverse": ["", "|list"], "trim": ["", "('H ')", f"({sub()})"], "filesizeformat": ["", "(true)"],
        }.get(name, [""])
        return name + r.choice(arguments)

    def target(self):
        return self.r.choice(["v", "q", "n", "s", "loop_var", "l", "missing", "tmp"])

    def statement(self, depth):
        r = self.r
        open_ = r.choice(["{%", "{%", "{%-", "{%+"])
        close = r.choice(["%}", "%}", "-%}", "+%}"])
        tag = lambda text: f"{r.choice(['{%', '{%', '{%-', '{%+'])} {text} {r.choice(['%}', '%}', '-%}', '+%}'])}"
        body = lambda: self.body(depth + 1)
        kind = r.randrange(15) if depth < 4 else 0
        if kind <= 1:
            return tag(f"set {self.target()} = {self.expression()}")
        if kind == 2:
            text = tag(f"if {self.expression()}") + body()
            for _ in range(r.randrange(3)):
                text += tag(f"elif {self.expression()}") + body()
            return text + (tag("else") + body() if r.random() < 0.6 else "") + tag("endif")
        if kind in (3, 4, 5):
            target = r.choice(["item", "item", "v", "a, b", "(a, (b, c))", "n"])
            iterable = self.pick("messages", "l", "ls", "d", "d.items()", "d|dictsort", "ll", "s", "le", "range(3)", "mixed", "items", "d|items", f"{self.expression(2)}")
            condition = f" if {self.expression(2)}" if r.random() < 0.25 else ""
            recursive = " recursive" if r.random() < 0.1 else ""
            names = self.names
            self.names = names + ["item", "item", "a", "b", "loop"]
            text = tag(f"for {target} in {iterable}{condition}{recursive}") + body()
            if recursive and r.random() < 0.7:
                text += "{% if loop.depth < 3 %}{{ loop([1, 2]) }}{% endif %}"
            if r.random() < 0.3:
                text += tag(f"if {self.expression(2)}") + tag(r.choice(["break", "continue"])) + tag("endif")
            text += body() if r.random() < 0.3 else ""
            self.names = names
            return text + (tag("else") + body() if r.random() < 0.3 else "") + tag("endfor")
        if kind == 6:
            name = r.choice(["macro0", "macro1"])
            names = self.names
            self.names = names + ["a", "b", "varargs", "kwargs", "caller()"]
            signature = r.choice(["a", "a, b", "a, b=2", "a, b=a", "", "a=missing, b=[]", "b=n, caller=none"])
            text = tag(f"macro {name}({signature})") + body() + tag("endmacro")
            self.names = names
            call = self.pick(f"{name}()", f"{name}({self.expression(2)})", f"{name}({self.expression(2)}, b={self.expression(2)})", f"{name}(1, 2, 3)")
            return text + self.pick("", f"{{{{ {call} }}}}", tag(f"call {call}") + body() + tag("endcall"), tag(f"call(a) {name}(1)") + body() + tag("endcall"))
        if kind == 7:
            return tag(f"set {self.target()}{r.choice(['', '|upper', '|trim|length', '|indent(2)'])}") + body() + tag("endset")
        if kind == 8:
            return tag(f"filter {r.choice(['upper', 'trim', 'replace(s, n)', 'indent(2, true)|title', 'length'])}") + body() + tag("endfilter")
        if kind == 9:
            names = self.names
            self.names = names + ["v", "q"]
            text = tag(f"with v = {self.expression()}, q = v") + body() + tag("endwith")
            self.names = names
            return text
        if kind == 10:
            return "{% raw %}" + r.choice(["{{ x }}", "{% if %}", "\n  plain\n"]) + r.choice(["{% endraw %}", "{%- endraw -%}", "{%+ endraw %}\n"])
        if kind == 11:
            return r.choice(["{# comment #}", "{#- comment -#}", "{# a\nb #}\n", "{#+ x +#}"])
        if kind == 12:
            return tag("set ns = namespace(v=1)") + r.choice(["", tag(f"set ns.v = {self.expression()}"), tag(f"set ns.q = ns.v ~ {self.expression()}")])
        if kind == 13:
            return tag("generation") + body() + tag("endgeneration")
        return tag(f"set {r.choice(['a, b', 'v, q', 'ns.v, v'])} = {self.pick('1, 2', 'll[0]', '(3, 4)', self.expression())}")

    def output(self):
        open_ = self.r.choice(["{{", "{{", "{{-", "{{ "])
        close = self.r.choice(["}}", "}}", "-}}", " }}"])
        return f"{open_} {self.expression()} {close}"

    def body(self, depth=0):
        parts = []
        for _ in range(self.r.randint(0, 3) if depth else self.r.randint(1, 4)):
            kind = self.r.random()
            if kind < 0.35:
                parts.append(self.output())
            elif kind < 0.6:
                parts.append(self.r.choice([" ", "\n", "text", "  \n  ", "a\n", "\t", "<|x|>", "x  ", "\n\n", "…"]))
            else:
                parts.append(self.statement(depth))
        return "".join(parts)


def template(r):
    return Grammar(r).body()


PIECES = [
    "{{", "}}", "{%", "%}", "{#", "#}", "-", "+", "|", "(", ")", "[", "]", "'", '"', "\\", "\n", " ", ".", ",", "not ", "if ", "else", "endif",
    "endfor", "for x in y", "set ", "1", "0", "~", "**", "is ", "{% endif %}", "{% else %}", "loop", "message", "{%- endfor -%}", ":", "=", "%", "é", "{{ '' }}",
]


def mutated(r, source):
    """A template with a few cuts and insertions."""
    for _ in range(r.randint(1, 3)):
        at = r.randrange(len(source) + 1)
        kind = r.random()
        if kind < 0.4:
            source = source[:at] + source[at + r.randint(1, 8) :]
        elif kind < 0.8:
            source = source[:at] + r.choice(PIECES) + source[at:]
        else:
            start = r.randrange(len(source) + 1)
            source = source[:at] + source[start : start + r.randint(1, 60)] + source[at:]
    return source
