"""A roll replaces a few instances at a time, and ends with the first that fails."""

from collections.abc import Iterable
from typing import Any

from supervisord_lite.base.record import replace
from supervisord_lite.core import events
from supervisord_lite.core.roll import Roll, go_on, joined
from supervisord_lite.core.states import Exited, Running, Starting, Stopped, Worker
from tests.support.core import a_policy
from tests.support.core_fleet import Company, a_company, a_pool


class Rolling:
    """A pool "web" that is up, and a roll that is driven as the shell does."""

    def __init__(self, size: int, **policy: Any) -> None:
        each = a_policy(ready_by="said", **policy)
        self.company: Company = a_company(a_pool("web"), sizes={"web": size}, policy=each)
        self.company.boot()
        self.company.ready()
        self.company.done.clear()
        self.roll: Roll | None = None
        self.failed: int | None = None
        self.untouched: tuple[int, ...] = ()

    def begin(self, indexes: Iterable[int], max_unavailable: int = 1) -> None:
        self.roll = joined(self.roll, "web", indexes, max_unavailable)
        self.go_on()

    def go_on(self, *, dies_before_telling: bool = False) -> None:
        """Do what follows, until nothing does; with *dies…* only save it."""
        while self.roll is not None:
            progress = go_on(self.roll, self.company.fleet.workers)
            self.roll = progress.roll
            if progress.failed is not None:
                self.failed, self.untouched = progress.failed, progress.untouched
            if not progress.restart or dies_before_telling:
                return
            for index in progress.restart:
                self.company.feed(("web", index), events.RestartRequested())

    def end(self, name: str, code: int = 0) -> None:
        self.company.exits(name, code)
        self.go_on()

    def ready(self, name: str) -> None:
        self.company.ready(name)
        self.go_on()

    def told(self) -> list[str]:
        """Return who was told to stop, in order."""
        return [name for what, name in self.company.done if what == "signal"]


def test_one_after_the_other_each_when_the_one_before_is_ready() -> None:
    """Ready, not spawned: and then the next."""
    rolling = Rolling(3)
    rolling.begin([1, 2, 3])
    assert rolling.told() == ["web"]
    rolling.end("web")
    rolling.company.spawned("web")
    rolling.go_on()
    assert rolling.told() == ["web"]
    rolling.ready("web")
    assert rolling.told() == ["web", "web-2"]
    rolling.end("web-2")
    rolling.ready("web-2")
    rolling.end("web-3")
    rolling.ready("web-3")
    assert rolling.roll is None
    assert [worker.run for worker in rolling.company.fleet.workers.values()] == [2, 2, 2]


def test_so_many_at_once_as_may_be_away() -> None:
    """Those that are away for other reasons count; they are the first to go."""
    rolling = Rolling(4)
    rolling.company.exits("web-3", 1)
    rolling.begin([1, 2, 3, 4], max_unavailable=2)
    assert rolling.told() == ["web"]
    assert isinstance(rolling.company.state("web-3"), Starting)
    rolling.ready("web-3")
    assert rolling.told() == ["web", "web-2"]


def test_a_new_run_that_fails_ends_the_roll_and_touches_no_other() -> None:
    """The last healthy instance is never replaced by one that does not start."""
    rolling = Rolling(3)
    rolling.begin([1, 2, 3])
    rolling.end("web")
    rolling.company.spawned("web")
    rolling.end("web", 1)
    assert rolling.roll is None
    assert (rolling.failed, rolling.untouched) == (1, (2, 3))
    assert rolling.told() == ["web"]


def test_one_that_is_not_ready_in_time_ends_the_roll() -> None:
    """A timeout is a failure, never success."""
    rolling = Rolling(2, start_timeout_s=60.0)
    rolling.begin([1, 2])
    rolling.end("web")
    rolling.company.spawned("web")
    rolling.company.wake("web")
    rolling.go_on()
    assert rolling.roll is not None
    rolling.end("web", 0)
    assert (rolling.failed, rolling.untouched) == (1, (2,))


def test_what_somebody_stops_meanwhile_drops_out() -> None:
    """A stop takes its instance out of the roll; stopping all of them ends it."""
    rolling = Rolling(3)
    rolling.begin([1, 2, 3])
    rolling.company.stop("web-2")
    rolling.company.exits("web-2", 0)
    rolling.company.stop("web")
    rolling.end("web")
    assert rolling.company.state("web") == Stopped(by_hand=True)
    assert rolling.told()[-1] == "web-3"
    rolling.company.stop("web-3")
    rolling.go_on()
    assert rolling.roll is None
    assert rolling.failed is None


def test_an_instance_that_is_removed_drops_out() -> None:
    """A pool that shrinks meanwhile is rolled as far as it is there."""
    rolling = Rolling(2)
    rolling.begin([1, 2])
    rolling.company.fleet.drop(("web", 2))
    rolling.end("web")
    rolling.ready("web")
    assert rolling.roll is None


def test_a_second_roll_waits_behind_the_first_and_gives_each_a_younger_run() -> None:
    """Whoever asks later wants what is on the disk later."""
    rolling = Rolling(2)
    rolling.begin([1, 2])
    rolling.end("web")
    rolling.begin([1, 2])
    rolling.ready("web")
    assert rolling.told() == ["web", "web-2"]
    rolling.end("web-2")
    rolling.ready("web-2")
    assert rolling.told() == ["web", "web-2", "web"]
    rolling.end("web")
    rolling.ready("web")
    assert rolling.roll is None
    runs = [worker.run for worker in rolling.company.fleet.workers.values()]
    assert runs == [3, 2]


def test_a_roll_that_was_saved_and_not_told_is_told_by_the_next_supervisor() -> None:
    """Nobody is left out, and nobody is restarted twice."""
    rolling = Rolling(2)
    rolling.roll = joined(None, "web", [1, 2], 1)
    rolling.go_on(dies_before_telling=True)
    assert rolling.told() == []
    rolling.go_on()
    rolling.go_on()
    assert rolling.told() == ["web"]


def test_one_whose_breaker_is_open_is_left_out_and_stops_nobody() -> None:
    """It needs a reset, and whoever asked is told so elsewhere."""
    rolling = Rolling(2, max_restarts=1)
    rolling.company.exits("web-2", 1)
    rolling.begin([1, 2])
    assert rolling.told() == ["web"]
    rolling.end("web")
    rolling.ready("web")
    assert rolling.roll is None
    assert rolling.failed is None


def test_one_that_waits_for_others_is_waited_for() -> None:
    """A restart may have to wait for what it requires; that is no failure."""
    shop = a_company(a_pool("db"), a_pool("web", requires=["db"]), sizes={"web": 2})
    shop.boot()
    shop.ready("db")
    shop.ready("web", "web-2")
    shop.stop("db")
    shop.exits("db", 0)
    roll = go_on(joined(None, "web", [1, 2], 1), shop.fleet.workers).roll
    assert roll is not None
    shop.restart("web")
    shop.exits("web", 0)
    assert shop.reason("web") == "requires db"
    progress = go_on(roll, shop.fleet.workers)
    assert (progress.roll, progress.restart, progress.failed) == (roll, (), None)


# -- with a new run first -------------------------------------------------------------------------


def up(size: int, run: int = 1) -> dict[tuple[str, int], Worker]:
    policy = a_policy(ready_by="said")
    return {
        ("web", index): Worker("web", index, policy, Running(run, 4000 + index, 0.0, 1.0), run=run)
        for index in range(1, size + 1)
    }


def a_twin(index: int, run: int) -> dict[tuple[str, int], Worker]:
    return {("web", index): Worker("web", index, a_policy(), Starting(run, 0.0), run=run)}


def test_as_many_more_as_may_be_and_the_next_when_the_old_one_is_gone() -> None:
    """Ready is not enough: the old process is there still."""
    workers = up(3)
    first = go_on(joined(None, "web", [1, 2, 3], 0, 1), workers)
    assert (first.swap, first.restart) == ((1,), ())
    assert first.roll is not None
    assert go_on(first.roll, workers, a_twin(1, 2)).swap == ()
    workers["web", 1] = replace(workers["web", 1], run=2)
    assert go_on(first.roll, workers, a_twin(1, 1)).swap == ()
    assert go_on(first.roll, workers).swap == (2,)


def test_both_ways_at_once_where_both_are_allowed() -> None:
    """One more first, and one away."""
    progress = go_on(joined(None, "web", [1, 2, 3], 1, 1), up(3))
    assert (progress.swap, progress.restart) == ((1,), (2,))


def test_one_that_is_away_is_restarted_in_place_and_one_that_has_ended_too() -> None:
    """Nothing is lost by it, though nobody else may be away."""
    workers = up(3)
    workers["web", 2] = workers["web", 2].in_state(Starting(1, 0.0))
    workers["web", 3] = workers["web", 3].in_state(Exited(1.0))
    progress = go_on(joined(None, "web", [1, 2, 3], 0, 1), workers)
    assert (progress.swap, sorted(progress.restart)) == ((1,), [2, 3])


def test_a_rejected_run_ends_the_roll() -> None:
    """Nobody else is touched."""
    first = go_on(joined(None, "web", [1, 2, 3], 0, 1), up(3))
    assert first.roll is not None
    progress = go_on(first.roll, up(3), {}, [1])
    assert (progress.roll, progress.failed, progress.untouched) == (None, 1, (2, 3))


def test_who_was_chosen_and_not_told_is_chosen_again() -> None:
    """A supervisor has died in between."""
    first = go_on(joined(None, "web", [1, 2], 0, 1), up(2))
    assert first.roll is not None
    again = go_on(first.roll, up(2))
    assert again.swap == (1,)
    assert again.roll == first.roll
