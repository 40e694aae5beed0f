"""A command in one text is split as a shell would, and as fast as it can be read."""

import shlex
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervisord_lite.config.split import SplitError, split_words

TEXTS = st.lists(
    st.sampled_from([*" \t\n\r'\"\\", "a", "é", "$", "#", ";", "\u00a0", "\x0b", "''", '\\"'])
).map("".join)


@given(TEXTS)
@example("")
@example("a''b \"\" ''")
@example('"a\\"b\\c\\\\"')
@example("a\\\n b")
def test_words_are_those_of_shlex(text: str) -> None:
    """Nobody who knows a shell is surprised."""
    try:
        words = shlex.split(text)
    except ValueError:
        with pytest.raises(SplitError, match=r"no (closing quotation|escaped character)"):
            split_words(text)
    else:
        assert split_words(text) == words


@pytest.mark.slow
@pytest.mark.parametrize("piece", ["a", "a ", "' '", '"\\""', "\\ ", '"'])
def test_a_long_text_costs_no_more_than_its_length(piece: str) -> None:
    """A million characters are split in the time of a few copies, not of their square."""
    begin_s = time.process_time()
    split_words(piece * (1_000_000 // len(piece) // 2 * 2))
    assert time.process_time() - begin_s < 5
