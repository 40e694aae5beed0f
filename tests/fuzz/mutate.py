"""Inputs that nobody thought of: good ones with something cut, doubled, flipped or put in."""

import random  # noqa: TID251  # seeded, and the seed is printed
from collections.abc import Sequence


def damaged(seeds: Sequence[bytes], bits: Sequence[bytes], rng: random.Random) -> bytes:
    """Return one of *seeds* with one to eight damages, of which *bits* are a part."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(7):
            case 0:
                del data[at : at + rng.choice((1, 1, 2, 5, 40))]
            case 1:
                data[at:at] = data[at : at + rng.choice((1, 3, 20, 200))]
            case 2 | 3:
                data[at:at] = rng.choice(bits)
            case 4:
                data[at:at] = rng.randbytes(rng.choice((1, 2, 8)))
            case 5 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case _:
                other = rng.choice(seeds)
                data[at:] = other[rng.randrange(len(other) + 1) :]
    return bytes(data)
