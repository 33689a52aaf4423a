"""Compiles normalisation rules into sentencepiece's `precompiled_charsmap`, for tests that need small ones.

The layout is that of darts-clone: 32-bit units with a label (bits 0-7), whether a rule ends (8) and the offset to the
children (10-30, shifted by 8 when bit 9 is set); the unit of a value has bit 31. Before the array its size in bytes,
after it the replacements, each ended by a zero byte.
"""

import struct


def compile_rules(rules):
    """The charsmap of a dict from text to replacement."""
    blob, places = bytearray(b"\0"), {"": 0}
    trie = {}
    for text, replacement in rules.items():
        if replacement not in places:
            places[replacement] = len(blob)
            blob += replacement.encode() + b"\0"
        node = trie
        for byte in text.encode():
            node = node.setdefault(byte, {})
        node[0] = places[replacement]

    units, taken, bases = {0: 0}, {0}, set()
    first = 1

    def place(node, position, label):
        nonlocal first
        labels = list(node)
        base = first
        while base in bases or any(base ^ x in taken for x in labels):
            base += 1
        if len(labels) == 1:
            first = max(first, base - 256)
        bases.add(base)
        taken.update(base ^ x for x in labels)
        offset = base ^ position
        assert offset < 1 << 21
        units[position] = offset << 10 | (0 in node) << 8 | label
        for x, child in node.items():
            if x == 0:
                units[base] = 1 << 31 | child
            else:
                place(child, base ^ x, x)

    place(trie, 0, 0)
    count = (max(units) // 256 + 2) * 256
    array = b"".join(struct.pack("<I", units.get(i, 1 << 31)) for i in range(count))
    return struct.pack("<I", len(array)) + array + bytes(blob)
