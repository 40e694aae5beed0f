"""What the keeper remembers, and until when."""

import json

import pytest

from supervisord_lite.keeper.table import Run, Table

KEY = ("web", 1, 1)


def a_run(table: Table, pid: int = 100, key: tuple[str, int, int] = KEY) -> Run:
    run = Run(key, pid, "marker", None)
    table.note_asked(key)
    table.add(run)
    return run


def end(table: Table, run: Run) -> None:
    table.note_reaped(run)
    table.fact("exited", 2.0, run.key, code=0, signal=None, emptied=True)
    table.note_emptied(run, table.last)


def test_facts_count_up_and_carry_whose_they_are() -> None:
    """Every fact has the next number."""
    table = Table({})

    numbers = [
        table.fact("signalled", 1.0, signal="SIGHUP"),
        table.fact("spawned", 2.0, KEY, pid=9),
    ]

    assert numbers == [1, 2]
    assert list(table.facts) == [
        {"n": 1, "fact": "signalled", "at_s": 1.0, "signal": "SIGHUP"},
        {"n": 2, "fact": "spawned", "at_s": 2.0, "pool": "web", "index": 1, "run": 1, "pid": 9},
    ]


def test_a_fact_stays_until_it_has_been_applied() -> None:
    """Told is not applied."""
    table = Table({})
    for _ in range(3):
        table.fact("signalled", 0.0)

    table.save({}, 2)
    assert [fact["n"] for fact in table.facts] == [3]
    table.save({}, 1)  # an older word changes nothing
    assert table.applied == 2
    assert [fact["n"] for fact in table.facts] == [3]


def test_what_does_not_exist_yet_cannot_be_applied() -> None:
    """A supervisor that claims the future does not make the next fact disappear."""
    table = Table({})
    table.save({}, 10**9)

    table.fact("signalled", 0.0)
    table.save({}, 0)

    assert [fact["n"] for fact in table.facts] == [1]


def test_saves_are_replaced_and_taken_back() -> None:
    """The last text of a key counts; None forgets it."""
    table = Table({"a": "1", "b": "1"})

    table.save({"a": "2", "b": None, "c": None}, 0)

    assert table.saves == {"a": "2"}


@pytest.mark.parametrize(
    ("after", "most", "numbers"),
    [(0, 2, [3, 4]), (2, 2, [3, 4]), (3, 2, [4, 5]), (4, 9, [5]), (3, 1, [4])],
)
def test_pages_begin_after_what_was_told(after: int, most: int, numbers: list[int]) -> None:
    """A page never repeats, never skips, and copes with facts that are gone."""
    table = Table({})
    for _ in range(5):
        table.fact("signalled", 0.0)
    table.save({}, 2)

    assert [fact["n"] for fact in table.page(after, most)] == numbers


def test_a_run_is_forgotten_when_its_last_fact_is_applied() -> None:
    """Not when it ended, and not when that was told."""
    table = Table({})
    run = a_run(table)
    end(table, run)

    assert table.by_pid == {}
    assert table.runs == {KEY: run}
    table.save({}, table.last)
    assert table.runs == {}


def test_runs_are_forgotten_in_the_order_they_became_empty() -> None:
    """An early one that is slow to empty does not hold up the others."""
    table = Table({})
    slow, fast = a_run(table), a_run(table, 101, ("web", 2, 1))
    table.note_reaped(slow)
    table.fact("exited", 1.0, slow.key, emptied=False)
    end(table, fast)

    table.save({}, table.last)
    assert list(table.runs) == [slow.key]
    table.fact("emptied", 2.0, slow.key)
    table.note_emptied(slow, table.last)
    table.save({}, table.last)
    assert table.runs == {}


def test_a_run_asked_for_is_known_for_ever() -> None:
    """A spawn that failed, or a run that is over, is not started by a doubled request."""
    table = Table({})
    table.note_asked(("web", 1, 4))

    assert table.is_known(("web", 1, 4))
    assert table.is_known(("web", 1, 3))
    assert not table.is_known(("web", 1, 5))
    assert not table.is_known(("web", 2, 4))
    assert not table.is_known(("other", 1, 4))


def test_a_pid_may_come_back_after_it_was_reaped() -> None:
    """The same number for another run is another process."""
    table = Table({})
    first = a_run(table)
    end(table, first)

    second = a_run(table, 100, ("web", 1, 2))

    assert table.by_pid == {100: second}


def test_the_handover_holds_all_that_a_new_supervisor_needs() -> None:
    """Saves, facts nobody applied, and what may be alive; without what is over."""
    table = Table({"settings": "{}"})
    a_run(table).spawned_at_s = 1.5
    table.fact("spawned", 1.5, KEY, pid=100)
    ended = a_run(table, 101, ("web", 2, 1))
    table.note_reaped(ended)
    over = a_run(table, 102, ("web", 3, 1))
    end(table, over)
    table.save({"worker/web/1": "x"}, 1)

    told = json.loads(table.handover(adoption=3))

    assert told["adoption"] == 3
    assert told["saves"] == {"settings": "{}", "worker/web/1": "x"}
    assert told["applied"] == 1
    assert [fact["n"] for fact in told["facts"]] == [2]
    assert told["inventory"] == [
        {"pool": "web", "index": 1, "run": 1, "pid": 100, "spawned_at_s": 1.5, "words": {}},
        {"pool": "web", "index": 2, "run": 1, "pid": None, "spawned_at_s": 0.0, "words": {}},
    ]


def test_a_run_that_may_still_begin_is_in_the_inventory() -> None:
    """A fork comes when its server has made it: until then nobody may say that it is gone."""
    table = Table({})
    table.note_asked(KEY)
    table.note_asked(("web", 2, 1))
    assert [each["index"] for each in table.inventory()] == [1, 2]
    table.fact("spawn_failed", 1.0, KEY, stage="preload", reason="", missing=False, hopeless=False)
    assert [(each["index"], each["pid"]) for each in table.inventory()] == [(2, None)]
    table.add(Run(("web", 2, 1), 100, "marker", None))
    assert [(each["index"], each["pid"]) for each in table.inventory()] == [(2, 100)]
