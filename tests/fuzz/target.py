"""What a target is: something that reads what others have written, and what is promised of it."""

from collections.abc import Callable
from typing import NamedTuple

from tests.fuzz.mutate import Make


def _nothing() -> None:
    """End nothing."""


class Target(NamedTuple):
    """One reader.

    Attributes:
        make: Returns an input that is good in most of its parts.
        judge: Takes an input; raises what must never be raised.
        few: Inputs of a run that is one test among many.
        each: How many inputs are packed into one (`mutate.packed`), because what reads them lives
            longer than one of them.
        end: Lets go of what the target has kept between inputs.
    """

    make: Make
    judge: Callable[[bytes], None]
    few: int = 2000
    each: int = 1
    end: Callable[[], None] = _nothing


#: Pieces of JSON that are more than they look like.
JSON_BITS = (
    b'"', b"\\", b"\\u0000", b"\\ud800", b"{", b"}", b"[", b"]", b":", b",", b"null", b"true",
    b"NaN", b"-Infinity", b"1e999", b"-0", b"9" * 400, b"9" * 5000, b"[" * 2000, b"\0", b"\xff",
    b"\xc3", b" ", b"0", b"1", b"7", b'{"a":', b'"' + b"x" * 300 + b'"', b'"a":1,"a":2,', b"\n",
)  # fmt: skip
