"""`events` of a worker: words that mean an event, and what becomes of them."""

from pathlib import Path

import pytest

from supervisord_lite.config.errors import ConfigurationError
from supervisord_lite.config.listens import EVENTS
from supervisord_lite.config.load import load
from supervisord_lite.supervisor import events, storms


def test_globs_are_taken_in_order_and_once(tmp_path: Path) -> None:
    """A word, a pattern, one that only later versions tell of."""
    file = tmp_path / "w.toml"
    file.write_text(
        '[worker.pager]\ncommand = "x"\n'
        'events = ["worker.tripped", "worker.*", "task.dead", "*", "*"]\n'
        '[worker.web]\ncommand = "x"\nevents = "job.failed"\n[worker.db]\ncommand = "x"\n'
    )
    specs = load(str(file), environ={}, as_root=False).specs
    assert [spec.events for spec in specs] == [
        ("worker.tripped", "worker.*", "task.dead", "*"), ("job.failed",), (),
    ]  # fmt: skip


@pytest.mark.parametrize("head", ["[worker.a]\ncommand = 'x'\n", "[defaults]\n"])
def test_a_word_that_means_no_event_is_an_error(tmp_path: Path, head: str) -> None:
    """With the one that was probably meant."""
    file = tmp_path / "w.toml"
    file.write_text(f'{head}events = ["worker.tripped", "worker.triped"]\n')
    with pytest.raises(ConfigurationError) as caught:
        load(str(file), environ={}, as_root=False)
    (problem,) = [each for each in caught.value.problems if "event" in each.message]
    assert problem.message == 'no event is called "worker.triped"'
    assert problem.hint == 'did you mean "worker.tripped"?'
    assert problem.column == 29


def test_every_event_of_the_daemon_can_be_asked_for() -> None:
    """What is recorded has a word that is known."""
    assert set(EVENTS) >= events._RECORDED
    assert storms.__doc__ is not None
    assert all(word in EVENTS for word in ("control.denied", "log.dropped", "events.dropped"))
