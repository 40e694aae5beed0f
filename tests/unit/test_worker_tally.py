"""Units of work that a Python worker counts: told to a hundredth, and never twice."""

from supervisord_lite.worker.context import Context
from supervisord_lite.worker.tally import Tally
from supervisord_lite.worker.voice import Voice


class HeardVoice(Voice):
    """A voice whose words a test reads; `is_full`: the daemon does not read."""

    def __init__(self) -> None:
        super().__init__(None)
        self.heard: list[str] = []
        self.is_full = False

    def say(self, words: str) -> bool:
        if not self.is_full:
            self.heard.append(words)
        return not self.is_full


def test_each_of_the_first_hundred_and_then_each_hundredth() -> None:
    """A million turns are not a million datagrams."""
    voice = HeardVoice()
    tally = Tally(voice)
    for _ in range(100):
        tally.add()
    assert voice.heard == [f"X_RUNS={number}" for number in range(1, 101)]
    for _ in range(999_900):
        tally.add()
    assert len(voice.heard) < 1100
    assert int(voice.heard[-1].removeprefix("X_RUNS=")) >= 990_000


def test_what_could_not_be_told_is_told_with_the_next() -> None:
    """Nobody waits for a daemon that does not read, and nothing is lost by that."""
    voice = HeardVoice()
    tally = Tally(voice)
    voice.is_full = True
    tally.add(5)
    voice.is_full = False
    tally.add()
    assert voice.heard == ["X_RUNS=6"]


def test_a_turn_counts_once_whoever_counts() -> None:
    """Either the loop, or what the target says itself."""
    voice = HeardVoice()
    context = Context("web", "web", 1, voice=voice)
    for turn in context.loop(0.0):
        if turn == 1:
            context.ran(10)
        if turn == 3:
            context.stop()
    assert voice.heard == ["X_RUNS=1", "X_RUNS=11", "X_RUNS=12", "X_RUNS=13"]
