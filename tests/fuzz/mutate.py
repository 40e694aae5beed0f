"""Inputs that nobody thought of: good ones with something cut, doubled, flipped or put in.

Three kinds of damage. `damaged` knows bytes only. `reshaped` knows JSON: whatever a value, key or
item can be, it may become, and what comes out is JSON nearly always; JSON inside a text of JSON is
reached as well. `packed` puts several inputs into one, for targets that live longer than one.
"""

import json
import random  # noqa: TID251  # seeded, and the seed is printed
from collections.abc import Callable, Sequence
from typing import Any

Make = Callable[[random.Random], bytes]

#: What stands where something else is expected: each kind, and the ends of each range.
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 7, 255, 2**31, 2**32 - 1, 2**63, 2**64, -(2**63), 10**30,
    10**400, 0.0, -0.0, 1.5, -3.25, 1e18, 1e300, float("inf"), float("-inf"), float("nan"), "",
    " ", "0", "-1", "x", "web", "web-1", "all", "*", "/", "/x", "../x", "a/b", "\0", "\ud800",
    "é", "\U0001f4a9", "\x1b[31m", "a\nb", "%i", "SIGKILL", "2026-01-01T00:00:00.000Z", "x" * 300,
    [], [None], [0], [[]], ["web"], [["web", 1, 1]], {}, {"": 0}, {"a": 1}, {"web": 2}, [{}],
)  # fmt: skip
_HUGE: tuple[Any, ...] = ("x" * 70_000, "é" * 40_000, [0] * 5000, {str(n): n for n in range(2000)})


def damaged(seeds: Sequence[bytes], bits: Sequence[bytes], rng: random.Random) -> bytes:
    """Return one of *seeds* with one to eight damages, of which *bits* are a part."""
    return scratched(rng.choice(seeds), seeds, bits, rng)


def scratched(
    data: bytes, others: Sequence[bytes], bits: Sequence[bytes], rng: random.Random
) -> bytes:
    """Return *data* with one to eight damages; the end may become that of one of *others*."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(found) + 1)
        match rng.randrange(7):
            case 0:
                del found[at : at + rng.choice((1, 1, 2, 5, 40))]
            case 1:
                found[at:at] = found[at : at + rng.choice((1, 3, 20, 200))]
            case 2 | 3:
                found[at:at] = rng.choice(bits)
            case 4:
                found[at:at] = rng.randbytes(rng.choice((1, 2, 8)))
            case 5 if at < len(found):
                found[at] ^= 1 << rng.randrange(8)
            case _:
                other = rng.choice(others)
                found[at:] = other[rng.randrange(len(other) + 1) :]
    return bytes(found)


def of_bytes(seeds: Sequence[bytes], bits: Sequence[bytes]) -> Make:
    """Return what makes inputs of bytes, one in fifty as good as it was."""
    return lambda rng: rng.choice(seeds) if rng.random() < 0.02 else damaged(seeds, bits, rng)


def of_json(seeds: Sequence[object], bits: Sequence[bytes]) -> Make:
    """Return what makes inputs of JSON: mostly of another shape, some no JSON any more."""
    texts = [json.dumps(seed).encode() for seed in seeds]

    def make(rng: random.Random) -> bytes:
        text = rng.choice(texts)
        kind = rng.random()
        if kind < 0.02:
            return text
        if kind < 0.14:
            return damaged(texts, bits, rng)
        shaped = reshaped(text, rng.choice(texts), rng)
        return scratched(shaped, texts, bits, rng) if kind < 0.2 else shaped

    return make


def reshaped(text: bytes, other: bytes, rng: random.Random) -> bytes:
    """Return JSON in which one to four places hold something else, maybe a part of *other*."""
    tree, stock = json.loads(text), json.loads(other)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        tree = _changed(tree, stock, rng)
    return json.dumps(tree).encode()


def _changed(node: Any, stock: Any, rng: random.Random) -> Any:
    """Return *node* with something in it, or itself, changed."""
    if node and isinstance(node, dict | list) and rng.random() < 0.85:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = rng.choice(keys)
        if rng.random() < 0.25:
            _rearranged(node, key, stock, rng)
        else:
            node[key] = _changed(node[key], stock, rng)
        return node
    if isinstance(node, str) and node[:1] in ("{", "[") and rng.random() < 0.9:
        try:
            return json.dumps(_changed(json.loads(node), stock, rng))
        except ValueError:
            return node[1:]
    return _instead_of(node, stock, rng)


def _rearranged(node: Any, key: Any, stock: Any, rng: random.Random) -> None:
    """Let one member of a container go, come twice, or have another name."""
    match rng.randrange(4):
        case 0:
            del node[key]
        case 1 if isinstance(node, list):
            node.insert(rng.randrange(len(node) + 1), _fresh(node[key]))
        case 1:
            node[str(rng.choice(ODD))] = _fresh(node[key])
        case 2 if isinstance(node, list):
            node.append(_part_of(stock, rng))
        case 2:
            value = node.pop(key)
            node[rng.choice([*node, "x"])] = value
        case _ if isinstance(node, list):
            rng.shuffle(node)
        case _:
            node[str(rng.choice(("", "x", key * 2, key[:-1])))] = _part_of(stock, rng)


def _instead_of(node: Any, stock: Any, rng: random.Random) -> Any:
    kind = rng.randrange(10)
    if kind < 5:
        return _fresh(rng.choice(ODD))
    if kind < 7:
        return _part_of(stock, rng)
    if isinstance(node, bool | None):
        return not node
    if isinstance(node, int | float):
        return rng.choice((node + 1, node - 1, -node, node * 1000, str(node), [node], 0, 1 << 40))
    if isinstance(node, str):
        return _word(node, rng)
    return _fresh(rng.choice(_HUGE)) if rng.random() < 0.01 else [node]


def _word(text: str, rng: random.Random) -> object:
    at = rng.randrange(len(text) + 1)
    match rng.randrange(5):
        case 0:
            return text[:at]
        case 1:
            return text[:at] + str(rng.choice(ODD)) + text[at:]
        case 2:
            return text * 2
        case 3:
            return [text]
        case _:
            return text.swapcase()


def _part_of(stock: Any, rng: random.Random) -> Any:
    """Return some part of *stock*."""
    while stock and isinstance(stock, dict | list) and rng.random() < 0.8:
        stock = rng.choice(list(stock.values()) if isinstance(stock, dict) else stock)
    return _fresh(stock)


def _fresh(value: Any) -> Any:
    return json.loads(json.dumps(value)) if isinstance(value, dict | list) else value


def cut(data: bytes, most: int = 1 << 20) -> list[bytes]:
    """Return *data* in pieces, always the same for the same data."""
    rng = random.Random(data)
    pieces, at = [], 0
    while at < len(data):
        size = min(most, rng.choice((1, 2, 3, 17, 300, 5000)))
        pieces.append(data[at : at + size])
        at += size
    return pieces


def packed(packets: Sequence[bytes]) -> bytes:
    """Return one input of several."""
    return b"".join(len(packet).to_bytes(4, "big") + packet for packet in packets)


def unpacked(data: bytes) -> list[bytes]:
    """Return what was packed; what lacks its end is left out."""
    packets, at = [], 0
    while at + 4 <= len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            break
        packets.append(data[at + 4 : end])
        at = end
    return packets


def several(make: Make, count: int) -> Make:
    """Return what packs *count* inputs into one."""
    return lambda rng: packed([make(rng) for _ in range(count)])
