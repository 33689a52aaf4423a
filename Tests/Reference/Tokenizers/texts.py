"""Training text and random test strings, both made here so that the fixtures depend on nothing else."""

import random

SUBJECTS = "the model|a small network|our teacher|this machine|the old library|every student|the river|a curious child".split("|")
VERBS = "reads|predicts|remembers|doesn't forget|will explain|has learned|can't see|I'm sure, follows".split("|")
OBJECTS = "the next word|a long story|numbers like 1, 23 and 4567|many examples|the weights|what it's told|a map of the city".split("|")
ENDINGS = [".", "!", "?", "...", " -- again.", ";\n", ".\n\n", " (see 3.14)."]
ZH_SUBJECTS = "人工智能|机器学习|语言模型|这台计算机|老师和学生|神经网络|一本旧书|北京的春天".split("|")
ZH_VERBS = "是|学习|预测|记住了|正在改变|可以解释|需要理解|并不害怕".split("|")
ZH_OBJECTS = "下一个词|世界的规律|许多例子|大量的数据|人类的语言|12个问题|我们的生活|城市的地图".split("|")
ZH_ENDINGS = ["。", "！", "？", "，", "；", "。\n"]


def training(seed, count=4000):
    r = random.Random(seed)
    for _ in range(count):
        yield f"{r.choice(SUBJECTS)} {r.choice(VERBS)} {r.choice(OBJECTS)}{r.choice(ENDINGS)}".capitalize()
        yield r.choice(ZH_SUBJECTS) + r.choice(ZH_VERBS) + r.choice(ZH_OBJECTS) + r.choice(ZH_ENDINGS)


SPACES = " \t\n\r\v\f\x85\xa0\u1680\u2000\u2009\u2028\u2029\u202f\u205f\u3000\u180e\u200b\u200c\u200d\ufeff"
CURIOUS = [
    "👨‍👩‍👧", "🇨🇳", "❤️", "👍🏽", "\r\n", "e\u0301", "ﬁ", "½", "²", "٣", "Ⅷ", "𝟙", "ſ", "K", "İ", "ß", "'S", "'ſ", "'ll", "'RE",
    "'t", "한", "ᄒ", "ᅡ", "ᆫ", "か\u3099", "\u1fef", "\U0001df25", "\u1c89", "\ua7cb", "\U00010d40", "\u0344", "\U0002f800", "a\u0323\u0307", "®", "ªº",
    "_", "a_b", "don't", "<0x41>", "▁", "##", "</w>",
]


def scalar(r, low, high):
    while True:
        c = r.randrange(low, high)
        if not 0xD800 <= c < 0xE000:
            return chr(c)


def strings(seed, count, special=()):
    """Random strings of every plane and kind, special tokens among them."""
    r = random.Random(seed)
    words = (SUBJECTS + VERBS + ZH_SUBJECTS + ZH_OBJECTS)
    pools = [
        lambda: chr(r.randrange(0x20, 0x7F)),
        lambda: r.choice(SPACES),
        lambda: " " * r.randrange(1, 4),
        lambda: scalar(r, 0x4E00, 0xA000),
        lambda: scalar(r, 0x300, 0x370),
        lambda: scalar(r, 0, 0x110000),
        lambda: scalar(r, 0x10000, 0x20000),
        lambda: r.choice(CURIOUS),
        lambda: scalar(r, 0xAC00, 0xD7A4),
        lambda: scalar(r, 0, 0x20),
        lambda: scalar(r, 0xA0, 0x600),
        lambda: str(r.randrange(0, 10 ** r.randrange(1, 7))),
        lambda: r.choice(words),
        lambda: scalar(r, 0x900, 0xE00),
        lambda: scalar(r, 0x1E00, 0x3000),
    ]
    if special:
        pools += [lambda: r.choice(special)] * 2
    yield ""
    for _ in range(count - 1):
        kind = r.randrange(3)
        if kind == 0:
            yield "".join(r.choice(pools)() for _ in range(r.randrange(1, 16)))
        elif kind == 1:
            few = [r.choice(pools) for _ in range(3)]
            yield "".join(r.choice(few)() for _ in range(r.randrange(1, 20)))
        else:
            yield " ".join("".join(r.choice(pools)() for _ in range(r.randrange(0, 4))) for _ in range(r.randrange(1, 7)))
