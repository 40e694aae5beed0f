"""The one line that says most of an exception."""

import asyncio

import pytest

from supervisord_lite.worker.masks import Masks
from supervisord_lite.worker.story import words_of


async def _fails(text: str) -> None:
    raise ValueError(text)


async def _together(*texts: str) -> None:
    async with asyncio.TaskGroup() as group:
        for text in texts:
            group.create_task(_fails(text))


def test_a_group_tells_what_has_happened_in_it() -> None:
    """Of a TaskGroup, the first of the tasks that failed."""
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(_together("no disk", "no net"))
    assert words_of(caught.value) == (
        "ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions): ValueError: no disk"
    )


def test_of_groups_in_groups_the_first_that_is_none_is_told() -> None:
    """However deep; secrets are hidden there too, and both have room."""
    inner = ExceptionGroup("b", [ValueError("hunter2 is wrong"), OSError("other")])
    error = BaseExceptionGroup("a" * 1000, [inner, KeyboardInterrupt()])
    words = words_of(error, Masks(["hunter2"]))
    assert words.startswith("BaseExceptionGroup: aaa")
    assert words.endswith("a: ValueError: *** is wrong")
    assert len(words) <= 500


def test_a_group_that_lies_about_itself_is_told_as_it_is() -> None:
    """The classes of others may do anything."""

    class Odd(ExceptionGroup[ValueError]):
        @property
        def exceptions(self) -> tuple[ValueError | ExceptionGroup[ValueError], ...]:
            raise OSError("no")

    assert words_of(Odd("odd", [ValueError("x")])).startswith("Odd")
