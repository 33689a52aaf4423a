"""Writes the Unicode tables of Sources/Tokenizers from what `tokenizers` itself answers.

The package links several libraries of different Unicode versions (Oniguruma for regular expressions, Rust's
standard library, an older normalisation crate), so no single Unicode file reproduces it. Every table is
therefore read from the package: each code point is shown to the operation in question.

    pip install -r ../requirements.txt
    python unicode_tables.py ../../../Sources/Tokenizers
    swift format -i ../../../Sources/Tokenizers/Unicode*.swift
"""

import sys
import textwrap
import unicodedata
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from charsmap import compile_rules

ALL = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
TEXT = "".join(map(chr, ALL))
CATEGORIES = (
    "Cn Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
)  # Order as in GeneralCategory; surrogates cannot occur in UTF-8.
WIDTH = 100


def matched(pattern):
    kept = set(normalizers.Replace(Regex(pattern), "").normalize_str(TEXT))
    return {c for c in ALL if chr(c) not in kept}


def isolated(pre_tokenizer):
    return {c for c in ALL if len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "a")) != 1}


def number(value):
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    out = digits[value % 36]
    while value := value // 36:
        out = digits[value % 36] + out
    return out


def literal(words):
    lines = textwrap.wrap(" ".join(words), WIDTH, break_long_words=False, break_on_hyphens=False)
    return '"""\n    ' + " \\\n    ".join(lines) + '\n    """'


def category_runs():
    category = dict.fromkeys(ALL, "Cn")
    for name in CATEGORIES[1:]:
        for c in matched(rf"\p{{{name}}}"):
            assert category[c] == "Cn"
            category[c] = name
    words, previous, length = [], None, 0
    for c in range(0x110000):
        name = category.get(c, "Cn")
        if name != previous:
            if previous is not None:
                words.append(previous + number(length))
            previous, length = name, 0
        length += 1
    words.append(previous + number(length))
    return category, words


def ranges(members):
    """Alternating gaps and lengths, in base 36."""
    words, end, start = [], 0, None
    for c in sorted(members):
        if start is None:
            start, last = c, c
        elif c == last + 1:
            last = c
        else:
            words += [number(start - end), number(last + 1 - start)]
            end, start, last = last + 1, c, c
    if start is not None:
        words += [number(start - end), number(last + 1 - start)]
    return words


def definition(category, members):
    """The categories wholly inside a set, then what is added to them."""
    names = [n for n in CATEGORIES if n != "Cn" and all(c in members for c in ALL if category[c] == n)]
    return names, ranges(c for c in members if category[c] not in names)


def combining_classes():
    """Canonical combining classes, found by where the package sorts each mark between known ones."""
    nfd = normalizers.NFD().normalize_str
    # Marks newer than the package's data have class 0 there and cannot serve as a measure.
    reference = {}
    for c in ALL:
        value = unicodedata.combining(chr(c))
        if value and nfd(chr(c)) == chr(c) and nfd("\u0345" + chr(c) + "\u0334")[0] != "\u0345":
            reference.setdefault(value, chr(c))
    values = sorted(reference)
    assert values[0] == 1 and values[-1] == 240

    def below(c, value):  # ccc(c) < value, for c with a class other than 0
        mark = reference[value]
        return chr(c) != mark and nfd("a" + mark + chr(c)) == "a" + chr(c) + mark

    classes = {}
    for c in ALL:
        if nfd(chr(c)) != chr(c):
            continue
        if not below(c, 240) and nfd("a" + chr(c) + reference[1]) == "a" + chr(c) + reference[1]:
            continue  # class 0 blocks both reorderings
        low, high = 0, len(values)
        while high - low > 1:
            middle = (low + high) // 2
            if below(c, values[middle]):
                high = middle
            else:
                low = middle
        classes[c] = values[low]
    return classes


def class_words(classes):
    words, end = [], 0
    items = sorted(classes.items())
    index = 0
    while index < len(items):
        start, value = items[index]
        stop = start
        while index < len(items) and items[index] == (stop, value):
            stop += 1
            index += 1
        words += [number(start - end), number(stop - start), number(value)]
        end = stop
    return words


def mapping_words(pairs):
    """code-point difference:mapping, the mapping as base-36 code points joined by '.'."""
    words, previous = [], 0
    for c, text in pairs:
        words.append(number(c - previous) + ":" + ".".join(number(ord(x)) for x in text))
        previous = c
    return words


def normal_forms():
    nfc, nfd = normalizers.NFC().normalize_str, normalizers.NFD().normalize_str
    nfkd = normalizers.NFKD().normalize_str
    hangul = set(range(0xAC00, 0xD7A4))
    canonical = [(c, nfd(chr(c))) for c in ALL if c not in hangul and nfd(chr(c)) != chr(c)]
    compatible = [(c, nfkd(chr(c))) for c in ALL if c not in hangul and nfkd(chr(c)) != nfd(chr(c))]
    # A character that NFC does not restore from its decomposition is excluded from composition.
    excluded = [c for c, text in canonical if nfc(text) != chr(c)]
    return canonical, compatible, excluded


def words_of_added_tokens():
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "Q": 1}, unk_token="<unk>"))
    tokenizer.add_tokens([AddedToken("Q", single_word=True)])
    return {c for c in ALL if 1 not in tokenizer.encode("Q" + chr(c)).ids}


def grapheme_kinds():
    """What the rules for grapheme clusters need to know of each character, by the numbers of GraphemeClusters.swift.

    `Precompiled` replaces a cluster of fewer than six bytes as a whole by a rule for its first character. With a rule
    for x, "x" and a mark become "X" when they are a cluster of their own, and "X" and the mark when the cluster begins
    earlier. So whether c joins what is before or behind it can be seen.
    """

    def probe(x):
        rule = normalizers.Precompiled(compile_rules({x: "X"})).normalize_str
        mark = "\u0300"
        return lambda before: rule(before + x + mark).endswith("X" + mark)

    def attached(c):
        return attach("a" + c) == "X"

    attach = normalizers.Precompiled(compile_rules({"a": "X"})).normalize_str
    joined_a, joined_vowel, joined_trailing = probe("a"), probe("\u1161"), probe("\u11a8")
    joined_picture, joined_consonant, joined_mark = probe("\xa9"), probe("\u0915"), probe("\u0301")
    kinds = {}
    for c in map(chr, ALL):
        if attached(c):
            if c == "\u200d":
                kinds[c] = 5
            elif not joined_picture("\U0001f469" + c + "\u200d"):
                kinds[c] = 6
            elif joined_consonant("\u0915" + c):
                kinds[c] = 4
            else:
                kinds[c] = 3 if joined_consonant("\u0915\u094d" + c) else 2
        elif not joined_mark(c):
            kinds[c] = 1
        elif joined_a(c):
            kinds[c] = 7
        elif joined_vowel(c) or joined_trailing(c):
            if "\uac00" <= c <= "\ud7a3":
                kinds[c] = 11
            else:
                kinds[c] = 8 if not joined_trailing(c) else 9 if joined_vowel(c) else 10
        elif 0x1F1E6 <= ord(c) <= 0x1F1FF:
            kinds[c] = 12
        elif joined_picture(c + "\u200d"):
            kinds[c] = 13
        elif joined_consonant(c + "\u094d"):
            kinds[c] = 14
    return kinds


def script_numbers():
    """The script by which `UnicodeScripts` cuts: equal numbers are not cut apart, and 0 never is."""
    cut = pre_tokenizers.UnicodeScripts().pre_tokenize_str
    examples, numbers, previous = [], {}, None
    for c in map(chr, ALL):
        if len(cut("a" + c)) == 1 and len(cut("\u044f" + c)) == 1:
            continue
        if previous is not None and len(cut(previous + c)) == 1:
            numbers[c] = numbers[previous]
        else:
            known = next((i for i, example in enumerate(examples) if len(cut(example + c)) == 1), None)
            if known is None:
                known = len(examples)
                examples.append(c)
            numbers[c] = known + 1
        previous = c
    assert len(examples) < 250
    return numbers


def run_words(numbers):
    words, start = [], 0
    for c in range(1, 0x110001):
        if c == 0x110000 or numbers.get(chr(c), 0) != numbers.get(chr(start), 0):
            words += [number(numbers.get(chr(start), 0)), number(c - start)]
            start = c
    return words


def removed(normalizer):
    return {c for c in ALL if normalizer.normalize_str("a" + chr(c) + "a") == "aa"}


def main():
    folder = Path(sys.argv[1])
    head = f"// Generated by Tests/Reference/Tokenizers/unicode_tables.py from tokenizers {tokenizers.__version__}. Do not edit.\n\n"

    category, runs = category_runs()
    sets = {
        "whitespace": ("White space: `\\\\s`, `char::is_whitespace`, the strip flags of added tokens.", matched(r"\s")),
        "wordInClass": ("`\\\\w` within brackets, as Oniguruma has it.", matched(r"[\w]")),
        "word": ("`\\\\w` outside brackets: Oniguruma adds six Latin-1 numbers.", matched(r"\w")),
        "wordOfAddedTokens": ("`\\\\w` as the Rust `regex` crate has it.", words_of_added_tokens()),
        "alphabetic": ("`\\\\p{Alphabetic}` and `[:alpha:]`.", matched(r"\p{Alphabetic}")),
        "han": ("`\\\\p{Han}`.", matched(r"\p{Han}")),
        "hiragana": ("`\\\\p{Hiragana}`.", matched(r"\p{Hiragana}")),
        "katakana": ("`\\\\p{Katakana}`.", matched(r"\p{Katakana}")),
        "hangul": ("`\\\\p{Hangul}`.", matched(r"\p{Hangul}")),
        "latin": ("`\\\\p{Latin}`.", matched(r"\p{Latin}")),
        "cyrillic": ("`\\\\p{Cyrillic}`.", matched(r"\p{Cyrillic}")),
        "greek": ("`\\\\p{Greek}`.", matched(r"\p{Greek}")),
        "arabic": ("`\\\\p{Arabic}`.", matched(r"\p{Arabic}")),
        "thai": ("`\\\\p{Thai}`.", matched(r"\p{Thai}")),
        "emoji": ("`\\\\p{Emoji}`.", matched(r"\p{Emoji}")),
        "digits": ("What the pre-tokeniser `Digits` isolates.", isolated(pre_tokenizers.Digits(individual_digits=True))),
        "punctuation": ("What the pre-tokeniser `Punctuation` isolates.", isolated(pre_tokenizers.Punctuation())),
        "strippedMarks": (
            "What the normaliser `StripAccents` removes.",
            set(ALL) - set(map(ord, normalizers.StripAccents().normalize_str(TEXT))),
        ),
    }
    cleaner = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    sets["bertRemoved"] = ("What `BertNormalizer` removes when it cleans a text.", removed(cleaner))
    stripper = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    sets["bertMarks"] = ("What `BertNormalizer` strips as accents.", removed(stripper))
    out = head + "extension GeneralCategory {\n"
    out += "  /// Runs of one category over all code points: its name, then its length in base 36.\n"
    out += "  static let runs: StaticString = " + literal(runs) + "\n}\n\nextension CodePointSet {\n"
    for name, (summary, members) in sets.items():
        names, added = definition(category, members)
        out += f"  /// {summary.replace(chr(92) * 2, chr(92))}\n"
        cases = ", ".join("." + n[0].lower() + n[1:] for n in names)
        out += f"  static let {name} = CodePointSet(\n    [{cases}],\n    adding: {literal(added)})\n\n"
    (folder / "UnicodeClasses.swift").write_text(out.rstrip() + "\n}\n", encoding="utf-8")

    out = head + "extension CodePointTable {\n"
    out += "  /// Kinds of characters for `GraphemeClusters`: kind, length.\n"
    out += "  static let graphemes: StaticString = " + literal(run_words(grapheme_kinds())) + "\n\n"
    out += "  /// Scripts as `UnicodeScripts` tells them apart, 0 for those that go with any: number, length.\n"
    out += "  static let scripts: StaticString = " + literal(run_words(script_numbers())) + "\n}\n"
    (folder / "UnicodeTables.swift").write_text(out, encoding="utf-8")

    canonical, compatible, excluded = normal_forms()
    lower = normalizers.Lowercase().normalize_str
    lowercase = [(c, lower(chr(c))) for c in ALL if c > 0x7F and lower(chr(c)) != chr(c)]
    out = head + "/// Character data for the normal forms and lower case, as code points in base 36.\nenum UnicodeMappings {\n"
    out += "  /// Canonical combining classes: gap, length, class.\n"
    out += "  static let combiningClasses: StaticString = " + literal(class_words(combining_classes())) + "\n\n"
    out += "  /// Full canonical decompositions without Hangul: distance from the last, mapping.\n"
    out += "  static let canonical: StaticString = " + literal(mapping_words(canonical)) + "\n\n"
    out += "  /// Full compatibility decompositions that differ from the canonical ones.\n"
    out += "  static let compatible: StaticString = " + literal(mapping_words(compatible)) + "\n\n"
    out += "  /// Decomposable characters that composition never makes: gap, length.\n"
    out += "  static let excluded: StaticString = " + literal(ranges(excluded)) + "\n\n"
    out += "  /// Lower-case mappings beyond ASCII.\n"
    out += "  static let lowercase: StaticString = " + literal(mapping_words(lowercase)) + "\n}\n"
    (folder / "UnicodeMappings.swift").write_text(out, encoding="utf-8")


main()
