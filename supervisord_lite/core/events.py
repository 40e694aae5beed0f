"""What happened to one worker: past participles. `now_s` of `step` says when."""

from typing import Literal

from supervisord_lite.base.record import record
from supervisord_lite.core.policy import Policy


@record
class Spawned:
    """The keeper has started `run`; its command runs (or a set-up stage of it)."""

    run: int
    pid: int


@record
class SpawnFailed:
    """`run` never ran: a set-up stage failed.

    Attributes:
        stage: The stage's name: "cgroup", "directory", "user", "limits", "log", "exec", "fork" …
        reason: What to tell people, with the path or name concerned.
        missing: The file or folder is not there: waits `backoff.max`, a deploy may heal it.
        hopeless: No retry can heal it (unknown user): trips at once.
    """

    run: int
    stage: str
    reason: str
    missing: bool = False
    hopeless: bool = False


@record
class Exited:
    """The leader of `run` has ended.

    Attributes:
        code: Exit code, or None when a signal ended it.
        signal: Number of the signal that ended it, or None.
        emptied: True when nothing else of its tree was alive; else `Emptied` follows.
        words: Why, in its own words: "ValueError: order -4: negative number"; may be empty.
        oom: The kernel has killed for memory in this run; for people: "2.0G of 2.0G (cgroup
            oom_kill +1)". Empty: it has not, as far as anybody counts.
    """

    run: int
    code: int | None
    signal: int | None
    emptied: bool
    words: str = ""
    oom: str = ""


@record
class Emptied:
    """Nothing of the tree of `run` is alive any more.

    Attributes:
        killed: What had been left behind and was killed, as ("pid name", …); may be empty.
    """

    run: int
    killed: tuple[str, ...] = ()


@record
class Lost:
    """After an adoption: the keeper knows nothing of `run` (its spawn request never arrived)."""

    run: int


@record
class ReadySaid:
    """`run` is ready, says somebody who can know.

    Attributes:
        by: "said": the worker itself; "health": a probe that was answered well. Only the one counts
            that the policy waits for (`ready_by`).
    """

    run: int
    by: Literal["said", "health"] = "said"


@record
class JudgedFailed:
    """`run` lives and does not work: a heartbeat or a health probe was missed. It is ended.

    Attributes:
        reason: For people: "no heartbeat for 30s", "health: connection refused, 3 times".
    """

    run: int
    reason: str


@record
class RecycleRequested:
    """`run` has had its share: it is ended softly, and a fresh one is started. No failure.

    Attributes:
        reason: For people: "memory 912M of 900M", "age 24h".
    """

    run: int
    reason: str


@record
class Extended:
    """`run` says that it needs more time for its start, or for its stop.

    Attributes:
        until_s: Monotonic: no deadline of that comes before this.
    """

    run: int
    until_s: float


@record
class GateMoved:
    """What it waits for may have changed: its turn to start or to stop may have come."""


@record
class StartRequested:
    """A person, or the boot, wants it up. A tripped worker is not started: it needs a reset.

    Attributes:
        by_itself: Nobody typed it: the boot, or a reload. A job waits for its time then.
    """

    by_itself: bool = False


@record
class StopRequested:
    """A person wants it down, by the ladder, and it stays down."""


@record
class RestartRequested:
    """A person wants a new run: stop if it is up, then start."""


@record
class ReplaceRequested:
    """A person, or the configuration, wants a new run before the present one ends (`swap.py`).

    Attributes:
        policy: By which the new run lives.
        recycle: Nobody asked for it but the limit of the present run: why, for people.
    """

    policy: Policy
    recycle: str = ""


@record
class ResetRequested:
    """Somebody closes the breaker and starts the backoff sequence again.

    Attributes:
        reason: For people: "asked", or "changed" with a changed configuration.
    """

    reason: str = "asked"


@record
class ShutdownRequested:
    """The service ends: as a stop, but not remembered as a person's decision.

    Attributes:
        at_once: True for the second signal: the whole tree is killed now.
    """

    at_once: bool = False


@record
class PolicyChanged:
    """The configuration gave this worker a new policy that applies to the live process."""

    policy: Policy


@record
class PlanBegun:
    """Of a job: planned times after `settled_s` count from now on."""

    settled_s: float


@record
class CameDue:
    """Of a job: a planned time has come, or was missed.

    Attributes:
        settled_s: Planned times up to this one are dealt with now.
        planned: Which one it is, for people: RFC 3339 UTC; empty: "now".
        is_missed: It was missed, and no other is due now.
        missed: The first one that was missed, for people; empty: none was.
    """

    settled_s: float
    planned: str = ""
    is_missed: bool = False
    missed: str = ""


@record
class DeadlinePassed:
    """It is `now_s`; something of this worker may be due."""


#: What the keeper reports of one run; an answer that belongs to another run changes nothing.
Fact = Spawned | SpawnFailed | Exited | Emptied | Lost
#: What is about one run: nothing when that run is over.
OfRun = Fact | ReadySaid | JudgedFailed | RecycleRequested | Extended

#: What a job's plan comes to; it means the same in all states with a process.
OfPlan = PlanBegun | CameDue
#: What is about a worker whether it has a run or not.
OfSlot = (
    GateMoved
    | StartRequested
    | StopRequested
    | RestartRequested
    | ResetRequested
    | ShutdownRequested
    | PolicyChanged
    | DeadlinePassed
)
#: What a state decides about.
OfState = OfRun | OfSlot
Event = OfState | OfPlan
#: What one slot may hear, which can have two runs; each of them hears an `Event`.
SlotEvent = Event | ReplaceRequested
