"""Who starts before whom, who stops after whom, and what a critical worker's end means."""

from typing import Any

import pytest

from supervisord_lite.core import events
from supervisord_lite.core.fleet import Escalation
from supervisord_lite.core.policy import Rung
from supervisord_lite.core.states import (
    Backoff,
    Running,
    Starting,
    Stopped,
    Stopping,
    Tripped,
    Waiting,
)
from tests.support.core import a_policy
from tests.support.core_fleet import Company, a_company, a_pool

DB = a_pool("db")
WEB = a_pool("web", requires=["db"])


def a_shop(**policy: Any) -> Company:
    """Return db, migrate (requires db) and web (requires both)."""
    return a_company(
        a_pool("web", requires=["db", "migrate"]),
        a_pool("migrate", requires=["db"]),
        DB,
        policy=a_policy(ready_by="said", **policy),
    )


# -- starting ------------------------------------------------------------------------------------


def test_a_worker_starts_when_all_that_it_requires_is_ready() -> None:
    """Spawned is not ready; the order in the file is irrelevant."""
    shop = a_shop()
    shop.boot()
    assert shop.words() == {"web": "waiting", "migrate": "waiting", "db": "starting"}
    assert shop.reason("web") == "requires db, migrate"

    shop.spawned("db")
    assert shop.words()["migrate"] == "waiting"
    shop.ready("db")
    assert shop.words() == {"web": "waiting", "migrate": "starting", "db": "running"}
    assert shop.reason("web") == "requires migrate"
    shop.ready("migrate")

    assert shop.words()["web"] == "starting"
    assert [what for what in shop.done if what[0] == "spawn"] == [
        ("spawn", "db"),
        ("spawn", "migrate"),
        ("spawn", "web"),
    ]


def test_workers_without_ties_start_together_and_once() -> None:
    """Five workers are asked for in one go, and a second start changes nothing."""
    shop = a_company(*(a_pool(name) for name in "abcde"))
    shop.boot()
    shop.boot()
    shop.start("a", "b", "c", "d", "e")
    assert shop.done == [("spawn", name) for name in "abcde"]


def test_a_fleet_without_workers_starts_and_stops() -> None:
    """There is nothing to wait for."""
    shop = a_company()
    shop.boot()
    shop.shut_down()
    assert shop.fleet.escalation() is None
    assert shop.fleet.longest_stop_s() == 0.0
    assert shop.done == []


def test_a_one_shot_is_ready_for_others_when_it_has_ended_well() -> None:
    """A migration that has run lets the web server start, and does not run again for it."""
    shop = a_company(WEB, DB, policy=a_policy(ready_by="exit"))
    shop.boot()
    shop.spawned("db")
    shop.exits("db", 0)
    assert shop.words() == {"web": "starting", "db": "exited"}
    assert shop.fleet.to_start([("web", 1)], by_person=True) == [("web", 1)]


def test_a_one_shot_that_failed_lets_nobody_start() -> None:
    """Ended is not ended well."""
    shop = a_company(WEB, DB, policy=a_policy(ready_by="exit", restart="never"))
    shop.boot()
    shop.spawned("db")
    shop.exits("db", 1)
    assert shop.words() == {"web": "waiting", "db": "exited"}
    assert shop.fleet.is_stuck(("web", 1))
    # A person who starts web tries it again; a reload does not.
    assert shop.fleet.to_start([("web", 1)], by_person=True) == [("db", 1), ("web", 1)]
    assert shop.fleet.to_start([("web", 1)], by_person=False) == [("web", 1)]


def test_a_worker_behind_one_that_has_given_up_waits_and_can_say_why() -> None:
    """`waiting` with the chain: nothing moves by itself, and a reset at the root frees all."""
    shop = a_shop(max_restarts=2)
    shop.boot()
    assert not shop.fleet.is_stuck(("web", 1))
    assert shop.fleet.standing.chain("web") == ("web", "db")

    shop.trip("db")

    assert shop.words() == {"web": "waiting", "migrate": "waiting", "db": "tripped"}
    assert shop.fleet.is_stuck(("web", 1))
    assert shop.fleet.is_stuck(("migrate", 1))
    assert not shop.fleet.standing.is_stuck("db")
    shop.tell("db", events.ResetRequested())
    for name in ("db", "migrate", "web"):
        shop.ready(name)
    assert set(shop.words().values()) == {"running"}


def test_the_chain_names_the_one_that_must_move() -> None:
    """Of two that are missing it is the one that will not come by itself."""
    shop = a_company(
        a_pool("slow"),
        DB,
        a_pool("app", requires=["slow", "db"]),
        a_pool("web", requires=["app"]),
        policy=a_policy(ready_by="said", max_restarts=1),
    )
    shop.boot()
    shop.trip("db")
    assert shop.fleet.standing.chain("web") == ("web", "app", "db")


def test_an_instance_that_waits_in_vain_knows_it_whatever_the_others_of_its_pool_do() -> None:
    """One was started alone and is on its way; the other still waits for a tripped database."""
    shop = a_company(WEB, DB, sizes={"web": 2}, policy=a_policy(ready_by="said", max_restarts=1))
    shop.boot()
    change = shop.fleet.step(
        ("web", 2), events.StartRequested(), now_s=0.0, rng=shop.rng, is_alone=True
    )
    assert isinstance(change.after.state, Starting)
    shop.trip("db")
    assert shop.fleet.is_stuck(("web", 1))
    assert not shop.fleet.is_stuck(("web", 2))


def test_after_waits_for_ready_or_given_up_and_no_longer() -> None:
    """A log shipper cannot hold forty programs down."""
    shop = a_company(a_pool("ship"), a_pool("web", after=["ship"]),
                     policy=a_policy(ready_by="said", max_restarts=2))  # fmt: skip
    shop.boot()
    assert shop.reason("web") == "after ship"
    shop.spawned("ship")
    shop.exits("ship")
    assert isinstance(shop.state("ship"), Backoff)
    assert isinstance(shop.state("web"), Waiting)
    shop.trip("ship")
    assert isinstance(shop.state("web"), Starting)


def test_after_one_that_nobody_started_is_no_wait() -> None:
    """Order only: it does not pull the other up, nor need it."""
    shop = a_company(a_pool("ship"), a_pool("web", after=["ship"]))
    shop.start("web")
    assert shop.words() == {"ship": "stopped", "web": "starting"}


def test_after_one_that_itself_waits_in_vain_is_no_wait() -> None:
    """Whoever waits behind a failed one has given up too, through any number of others."""
    shop = a_company(
        DB,
        a_pool("queue", requires=["db"]),
        a_pool("ship", requires=["queue"]),
        a_pool("web", after=["ship"]),
        policy=a_policy(ready_by="said", max_restarts=1),
    )
    shop.boot()
    assert isinstance(shop.state("web"), Waiting)
    shop.trip("db")
    assert shop.words() == {
        "db": "tripped", "queue": "waiting", "ship": "waiting", "web": "starting",
    }  # fmt: skip


def test_a_long_backoff_does_not_hold_up_what_comes_after() -> None:
    """One that waits longer than any start may take has had its chance."""
    shop = a_company(a_pool("ship"), a_pool("web", after=["ship"]))
    shop.boot()
    shop.feed(("ship", 1), events.SpawnFailed(1, "exec", "no such file: /x", missing=True))
    assert shop.words() == {"ship": "backoff", "web": "starting"}


def test_a_start_by_a_person_starts_what_it_requires() -> None:
    """`start web` means that web runs: what it requires comes first, stopped by hand or not."""
    shop = a_shop()
    shop.stop("db")
    assert shop.state("db") == Stopped(by_hand=True)
    assert shop.fleet.to_start([("web", 1)], by_person=True) == [
        ("db", 1), ("migrate", 1), ("web", 1),
    ]  # fmt: skip


def test_a_boot_leaves_alone_what_somebody_stopped_by_hand() -> None:
    """What people did by hand survives: whoever requires it waits."""
    shop = a_company(WEB, DB)
    shop.stop("db")
    assert shop.fleet.to_start([("web", 1)], by_person=False) == [("web", 1)]
    shop.tell("web", events.StartRequested())
    assert shop.reason("web") == "requires db"
    assert shop.fleet.is_stuck(("web", 1))


def test_a_pool_is_ready_when_every_instance_that_is_wanted_is() -> None:
    """Three of three; one that somebody stopped by hand is not wanted."""
    shop = a_company(WEB, DB, sizes={"db": 3, "web": 2})
    shop.boot()
    shop.ready("db", "db-2")
    assert isinstance(shop.state("web"), Waiting)
    shop.stop("db-3")
    shop.spawned("db-3")
    shop.exits("db-3", 0)
    assert isinstance(shop.state("web-2"), Starting)


def test_the_crash_of_a_required_worker_touches_nobody() -> None:
    """Its dependants keep their pids, whatever happens to it."""
    shop = a_shop(max_restarts=2)
    shop.boot()
    for name in ("db", "migrate", "web"):
        shop.ready(name)
    web = shop.state("web")
    shop.trip("db")
    shop.stop("db")
    assert shop.state("web") is web


def test_a_restart_after_a_failure_waits_until_one_instance_of_what_it_requires_is_back() -> None:
    """What crashed because of its database does not burn its breaker; one of two is enough."""
    shop = a_company(WEB, DB, sizes={"db": 2})
    shop.boot()
    shop.ready("db", "db-2")
    shop.ready("web")
    shop.exits("db")
    shop.exits("db-2")
    shop.exits("web")
    shop.wake("web")
    assert shop.state("web") == Waiting("requires db", "restart")

    shop.wake("db")
    shop.ready("db")

    assert isinstance(shop.state("db-2"), Backoff)
    assert isinstance(shop.state("web"), Starting)
    assert shop.fleet.workers["web", 1].restarts == 1


def test_what_starts_again_after_an_ok_exit_does_not_wait_for_the_order_of_the_boot() -> None:
    """It had its turn: a log shipper in its backoff is none of its business any more."""
    policy = a_policy(ready_by="said", restart="always", stable_run_period_s=0.0)
    shop = a_company(a_pool("ship"), a_pool("web", after=["ship"]), policy=policy)
    shop.boot()
    shop.ready("ship")
    shop.ready("web")
    shop.exits("ship", 1)
    shop.exits("web", 0)
    assert isinstance(shop.state("web"), Starting)


def test_a_waiting_worker_goes_on_under_the_next_supervisor() -> None:
    """A crash of ours in the middle of a boot changes nothing about the order."""
    shop = a_shop()
    shop.boot()
    shop.crash_of_the_supervisor()
    shop.ready("db")
    shop.crash_of_the_supervisor()
    shop.ready("migrate")
    assert isinstance(shop.state("web"), Starting)


# -- stopping ------------------------------------------------------------------------------------


def up(shop: Company) -> Company:
    """Let everybody become ready."""
    shop.boot()
    while shop.trees.keys() != shop.fleet.workers.keys() or "asked" in shop.trees.values():
        shop.ready()
    assert set(shop.words().values()) == {"running"}
    shop.done.clear()
    return shop


def test_everything_stops_in_the_reverse_order_and_each_when_the_one_before_is_gone() -> None:
    """The database is stopped when nothing that uses it lives."""
    shop = up(a_shop())
    shop.shut_down()
    assert shop.done == [("signal", "web")]
    state = shop.state("db")
    assert isinstance(state, Stopping)
    assert state.held_by == "migrate stops first"

    shop.exits("web", 0)
    assert shop.done[1:] == [("signal", "migrate")]
    shop.crash_of_the_supervisor()
    shop.exits("migrate", 0)
    assert shop.done[2:] == [("signal", "db")]
    shop.exits("db", 0)
    assert set(shop.words().values()) == {"stopped"}


def test_a_middle_one_that_is_down_already_does_not_let_the_last_one_go_early() -> None:
    """The order holds through others."""
    shop = up(a_company(a_pool("web", requires=["app"]), a_pool("app", requires=["db"]), DB))
    shop.stop("app")
    shop.exits("app", 0)
    shop.done.clear()
    shop.shut_down()
    assert shop.done == [("signal", "web")]


def test_the_end_at_once_waits_for_no_order() -> None:
    """A second signal kills every tree now."""
    shop = up(a_shop())
    shop.shut_down()
    shop.shut_down(at_once=True)
    assert {name for what, name in shop.done if what == "kill"} == {"web", "migrate", "db"}


def test_a_worker_that_is_not_running_holds_nobody_up() -> None:
    """Backoff, tripped, waiting: there is nothing to wait for."""
    shop = up(a_shop())
    shop.exits("web")
    shop.exits("migrate")
    shop.shut_down()
    assert shop.done[-1] == ("signal", "db")


def test_nothing_starts_after_the_end_has_begun() -> None:
    """Whoever crashes while it waits for its stop stays down."""
    shop = up(a_shop())
    shop.shut_down()
    shop.exits("db", 1)
    assert shop.state("db") == Stopped()
    shop.start("db")
    assert shop.words()["db"] != "running"


def test_a_stop_by_one_person_waits_for_the_stop_of_another() -> None:
    """Two operators who stop web and its database at the same time stop them in order."""
    shop = up(a_company(WEB, DB))
    shop.stop("web")
    shop.stop("db")
    assert shop.done == [("signal", "web")]
    shop.exits("web", 0)
    assert shop.done[-1] == ("signal", "db")


def test_a_stop_of_a_required_worker_alone_waits_for_nobody() -> None:
    """Who is not on the way down is not asked."""
    shop = up(a_company(WEB, DB))
    shop.stop("db")
    assert shop.done == [("signal", "db")]
    assert isinstance(shop.state("web"), Running)


def test_one_that_crashed_and_is_cleared_away_holds_no_stop_up() -> None:
    """Nobody asked it to go, and nobody knows whether it uses the database still."""
    shop = up(a_company(WEB, DB))
    shop.feed(("web", 1), events.Exited(1, 1, None, emptied=False))
    shop.stop("db")
    assert shop.done == [("signal", "db")]


def test_a_restart_of_both_goes_down_in_one_order_and_up_in_the_other() -> None:
    """The new web never meets the old database."""
    shop = up(a_company(WEB, DB))
    shop.restart("db", "web")
    assert shop.done == [("signal", "web")]
    shop.exits("web", 0)
    assert shop.done == [("signal", "web"), ("signal", "db")]
    assert shop.reason("web") == "requires db"
    shop.exits("db", 0)
    shop.ready("db")
    assert shop.done[2:] == [("spawn", "db"), ("spawn", "web")]


def test_a_failed_one_is_ended_without_waiting_for_others() -> None:
    """Only stops that somebody asked for have an order."""
    shop = up(a_company(WEB, DB))
    shop.stop("web")
    shop.tell("db", events.JudgedFailed(1, "no heartbeat for 30s"))
    assert shop.done == [("signal", "web"), ("signal", "db")]


def test_the_time_that_an_ordered_stop_may_take_is_that_of_the_longest_chain() -> None:
    """What systemd is told must be enough for one after the other."""
    policy = a_policy(stop_ladder=(Rung(15, 10.0), Rung(3, 5.0)))
    shop = a_company(
        a_pool("web", requires=["db"]), a_pool("log"), DB, a_pool("tail", after=["log"]),
        a_pool("top", requires=["web"]), policy=policy, sizes={"web": 8},
    )  # fmt: skip
    assert shop.fleet.longest_stop_s() == 45.0


# -- the end of a critical worker ----------------------------------------------------------------


def test_a_critical_worker_whose_breaker_trips_ends_the_service() -> None:
    """The decision says who, how often and why; nothing else does."""
    shop = a_company(a_pool("db", critical="any"), WEB, policy=a_policy(max_restarts=2))
    shop.boot()
    shop.spawned("db")
    shop.exits("db", 3)
    assert shop.fleet.escalation() is None
    shop.trip("db")
    assert shop.fleet.escalation() == Escalation(("db", 1), "any", 2, 2, 600.0, "exit 1")


def test_one_tripped_instance_is_enough_for_any_and_not_for_all() -> None:
    """`critical = true` means any instance; "all" means that none is left."""
    policy = a_policy(max_restarts=1)
    one = a_company(a_pool("web", critical="any"), policy=policy, sizes={"web": 2})
    every = a_company(a_pool("web", critical="all"), policy=policy, sizes={"web": 3})
    for shop in (one, every):
        shop.boot()
        shop.trip("web-2")
    escalation = one.fleet.escalation()
    assert escalation is not None
    assert escalation.slot == ("web", 2)
    assert every.fleet.escalation() is None
    every.stop("web-3")
    every.spawned("web-3")
    every.exits("web-3", 0)
    every.now_s = 1.0
    every.trip("web")
    escalation = every.fleet.escalation()
    assert escalation is not None
    assert (escalation.slot, escalation.critical) == (("web", 1), "all")


def test_a_worker_that_is_not_critical_ends_nothing() -> None:
    """Its breaker is its own affair."""
    shop = a_company(DB, WEB, policy=a_policy(max_restarts=1))
    shop.boot()
    shop.trip("db")
    assert isinstance(shop.state("db"), Tripped)
    assert shop.fleet.escalation() is None


@pytest.mark.parametrize("restart", ["on-failure", "never"])
def test_what_no_retry_can_heal_ends_the_service_at_once(restart: str) -> None:
    """An unknown user of a critical worker is found at its first start."""
    shop = a_company(a_pool("db", critical="any"), policy=a_policy(restart=restart))
    shop.boot()
    shop.feed(("db", 1), events.SpawnFailed(1, "user", "no such user: bob", hopeless=True))
    escalation = shop.fleet.escalation()
    assert escalation is not None
    assert escalation.reason == "spawn failed (user): no such user: bob"


# -- a fleet that changes ------------------------------------------------------------------------


def test_an_instance_that_is_added_counts_and_one_that_is_dropped_does_not() -> None:
    """Growing touches nobody; what waits for the pool waits for the new one too."""
    shop = a_company(WEB, DB)
    shop.boot()
    shop.ready("db")
    shop.ready("web")
    web, db = shop.state("web"), shop.state("db")
    grown = shop.fleet.workers["db", 1]

    shop.fleet.put(("db", 2), type(grown)("db", 2, grown.policy))
    shop.start("db-2")
    shop.restart("web")
    shop.exits("web", 0)

    assert shop.reason("web") == "requires db"
    assert shop.state("db") is db
    assert web != shop.state("web")
    shop.stop("db-2")
    shop.spawned("db-2")
    shop.exits("db-2", 0)
    assert isinstance(shop.state("web"), Starting)
    shop.fleet.drop(("db", 2))
    assert ("db", 2) not in shop.fleet.workers
    assert shop.fleet.standing.is_ready("db")
