"""However answers fall, a run is judged exactly after `failures` bad ones in a row."""

from hypothesis import given
from hypothesis import strategies as st

from supervisord_lite.core import probing
from supervisord_lite.core.events import JudgedFailed, ReadySaid
from supervisord_lite.core.probing import Pace

ANSWERS = st.lists(st.sampled_from(("", "", "HTTP 500", "timeout", None)), max_size=60)


@given(
    ANSWERS,
    st.integers(1, 5),
    st.booleans(),
    st.floats(0.0, 0.999),
    st.lists(st.floats(0.0, 25.0), min_size=60, max_size=60),
)
def test_it_is_judged_after_so_many_bad_answers_in_a_row_and_not_before(
    answers: list[str | None], failures: int, is_awaited: bool, phase: float, delays: list[float]
) -> None:
    """None: nothing could be concluded. Before the first good answer of a start nothing counts."""
    pace = Pace(interval_s=10.0, timeout_s=3.0, failures=failures)
    now_s = 50.0
    asked = probing.begin(3, now_s, is_awaited=is_awaited, now_s=now_s, pace=pace, phase=phase)
    bad, is_ready = 0, not is_awaited
    for answer, delay_s in zip(answers, delays, strict=False):
        assert asked.next_at_s is not None
        assert now_s <= asked.next_at_s <= now_s + pace.interval_s
        now_s = asked.next_at_s
        asked = probing.ask(asked, now_s)
        now_s += delay_s
        if answer is None:
            asked = probing.put_off(asked, now_s)
            continue
        asked, verdict = probing.answered(asked, answer, now_s=now_s, pace=pace, phase=phase)
        if not is_ready:
            assert verdict == (None if answer else ReadySaid(3, by="health"))
            is_ready = not answer
            continue
        bad = bad + 1 if answer else 0
        assert asked.bad_count == bad
        assert isinstance(verdict, JudgedFailed) == (bad == failures)
        if verdict is not None:
            return
