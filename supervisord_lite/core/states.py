"""The states of one worker, the fields that each owns, and the table of legal moves."""

from collections.abc import Mapping
from typing import Literal

from supervisord_lite.base.record import record
from supervisord_lite.core.policy import Policy

#: What follows when a worker's turn comes: the start that somebody asked for, the restart after a
#: failure, the next run after an ok exit, the start on trial of a tripped one, or a planned run of
#: a job.
Then = Literal["start", "restart", "again", "probe", "due"]
#: What an end leads to, once nothing of the tree is left.
#: "stopped": a person's stop. "shutdown": the service ends. "restart": start again at once.
#: "failed": count a failure and decide. "ended": an ok exit by itself; the restart policy decides.
#: "replaced", "rejected": of the run beside that of a slot (`swap.py`), the old one or the new one.
Outcome = Literal["stopped", "shutdown", "restart", "failed", "ended", "replaced", "rejected"]


@record
class Stopped:
    """Down. `by_hand`: a person said so; it survives everything but the end of the service."""

    by_hand: bool = False


@record
class Waiting:
    """Wanted, but something else must come first.

    Attributes:
        reason: For people: "requires db", "after logship".
    """

    reason: str
    then: Then = "start"


@record
class Scheduled:
    """A job between two runs; people read "waiting". See `schedule.py`."""


@record
class Starting:
    """Spawn asked for at `asked_at_s`; alive since `spawned_at_s` when `pid` is known.

    Attributes:
        said_at_s: When somebody said that it is ready; that can overtake the answer to the spawn.
        extended_s: It asked for time until then to become ready; never after it is.
        by: "schedule" where its planned time has come; else empty.
    """

    run: int
    asked_at_s: float
    pid: int | None = None
    spawned_at_s: float | None = None
    said_at_s: float | None = None
    extended_s: float | None = None
    by: str = ""


@record
class Probing:
    """As `Starting` and `Running` in one, but on trial until `stable_run_period`."""

    run: int
    asked_at_s: float
    pid: int | None = None
    spawned_at_s: float | None = None
    ready_at_s: float | None = None
    said_at_s: float | None = None
    extended_s: float | None = None


@record
class Running:
    """Ready."""

    run: int
    pid: int
    spawned_at_s: float
    ready_at_s: float


@record
class Stopping:
    """An end is on its way.

    Attributes:
        pid: The leader while it lives and is known; None before it is spawned and after it ended.
        spawned_at_s: None while the spawn has not been answered yet.
        outcome: Where this leads.
        reason: For people: "stop", "restart", "shutdown", "not ready after 60s", "exit 1" …
        rung: Index in the stop ladder; len(ladder) once SIGKILL has been sent; -1 before the first.
        deadline_s: When the next rung is due; None when nothing more can be sent.
        code, signal, exited_at_s: The leader's end, once it is known.
        was_probing: It was on trial when its end began.
        held_by: Why the first signal is not sent yet, for people: "web stops first"; else empty.
        awaits_twin: Nothing of this run is left, but of the one beside it (`swap.py`).
        start_again: A person asked for a new run while a "failed" or "ended" one is cleared away:
            start at once afterwards, unless the failure trips the breaker.
        recycle: Of "restart": nobody asked for it but its own limit: why, for people.
    """

    run: int
    outcome: Outcome
    reason: str
    pid: int | None = None
    spawned_at_s: float | None = None
    rung: int = -1
    deadline_s: float | None = None
    code: int | None = None
    signal: int | None = None
    exited_at_s: float | None = None
    was_probing: bool = False
    start_again: bool = False
    held_by: str = ""
    recycle: str = ""
    awaits_twin: bool = False


@record
class Backoff:
    """Starts again at `retry_at_s`, after a wait of `delay_s` in all.

    Attributes:
        after_failure: False after an ok exit under "always": that start is no restart.
    """

    retry_at_s: float
    delay_s: float
    after_failure: bool = True


@record
class Tripped:
    """Breaker open since `at_s`; `probe_at_s` when a cooldown is set."""

    at_s: float
    probe_at_s: float | None = None


@record
class Exited:
    """Finished at `at_s`; the policy says leave it."""

    at_s: float


State = (
    Stopped
    | Waiting
    | Scheduled
    | Starting
    | Probing
    | Running
    | Stopping
    | Backoff
    | Tripped
    | Exited
)

#: The contract: every legal move to another state. `step` asserts it. Whoever may start may have to
#: wait first, so nearly every state leads to `waiting`.
NEXT: Mapping[type[State], frozenset[type[State]]] = {
    Stopped: frozenset({Waiting, Scheduled, Starting}),
    Waiting: frozenset({Starting, Probing, Stopped}),
    Scheduled: frozenset({Starting, Stopped, Waiting}),
    Starting: frozenset({Running, Stopping, Backoff, Tripped, Exited, Scheduled, Waiting}),
    Probing: frozenset({Running, Stopping, Tripped, Exited, Scheduled, Starting, Backoff, Waiting}),
    Running: frozenset({Stopping, Backoff, Tripped, Exited, Scheduled, Starting, Waiting}),
    Stopping: frozenset({Stopped, Starting, Backoff, Tripped, Exited, Scheduled, Waiting}),
    Backoff: frozenset({Starting, Stopped, Waiting}),
    Tripped: frozenset({Probing, Stopped, Starting, Scheduled, Waiting}),
    Exited: frozenset({Starting, Stopped, Scheduled, Waiting}),
}


def word_of(state: State) -> str:
    """Return a state as people read it: who is between two planned runs waits."""
    return "waiting" if isinstance(state, Scheduled) else type(state).__name__.lower()


@record
class LastExit:
    """How the latest run ended.

    Attributes:
        reason: For people: "exit 1", "SIGKILL", "spawn failed (exec): no such file …".
        at_s: Monotonic.
        ran_s: How long it had run.
        pid: Of the leader, when there was one: whose last words to look for.
        asked: It was ended on demand, or gave way to a fresh run: that is no failure.
    """

    code: int | None
    signal: int | None
    reason: str
    at_s: float
    ran_s: float
    pid: int | None = None
    asked: bool = False


@record
class Worker:
    """One slot of a pool.

    Attributes:
        pool, index: The slot; index counts from 1. Never a printed name.
        run: Number of the latest run; 0 before the first.
        attempt: Failures since the last stable run: the exponent of the backoff.
        failures: Times of failures that may still be inside the window, oldest first; at most
            `max_restarts` of them.
        restarts: Starts that followed a failure, ever.
        recycles: Starts that followed a recycle, ever.
        settled_s: Of a job: planned times up to this one are dealt with (`schedule.py`); None:
            no plan has begun.
        is_owed: A planned run begins when the one that goes on has ended.
        spent: The highest number of a run that was started beside this one's; never used again.
        recycle: Why its run gives way to the one that is coming; empty: somebody asked, or nobody.
    """

    pool: str
    index: int
    policy: Policy
    state: State = Stopped()
    run: int = 0
    attempt: int = 0
    failures: tuple[float, ...] = ()
    restarts: int = 0
    last_exit: LastExit | None = None
    recycles: int = 0
    settled_s: float | None = None
    is_owed: bool = False
    spent: int = 0
    recycle: str = ""

    def in_state(self, state: State) -> "Worker":
        """Return this worker in another state; `replace` takes five times as long."""
        return Worker(
            self.pool,
            self.index,
            self.policy,
            state,
            self.run,
            self.attempt,
            self.failures,
            self.restarts,
            self.last_exit,
            self.recycles,
            self.settled_s,
            self.is_owed,
            self.spent,
            self.recycle,
        )
