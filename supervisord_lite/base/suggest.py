"""Did you mean: the nearest of the names that exist."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known name that *word* was probably meant to be, or None.

    Near is at most a third of the letters wrong (one at least), swapped neighbours counting once.
    """
    most = max(1, len(word) // 3)
    # Names that are too long or short are as far away at least. Left out first, because a distance
    # costs the product of both lengths, and clients of the control socket choose the word.
    near = [name for name in known if abs(len(name) - len(word)) <= most]
    # Each letter that the other lacks is a wrong one, and to count them costs next to nothing.
    near = [name for name in near if max(len(word), len(name)) - _common(word, name) <= most]
    best = min(near, key=lambda name: (_distance(word, name), name), default=None)
    if best is None or _distance(word, best) > most:
        return None
    return best


def _common(left: str, right: str) -> int:
    """Return how many letters both have, wherever they stand."""
    return sum(min(left.count(letter), right.count(letter)) for letter in set(right))


def _distance(left: str, right: str) -> int:
    """Return the optimal string alignment distance."""
    older: list[int] = []
    old = list(range(len(right) + 1))
    for i, a in enumerate(left, start=1):
        row = [i]
        for j, b in enumerate(right, start=1):
            cost = min(old[j] + 1, row[j - 1] + 1, old[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        older, old = old, row
    return old[-1]
