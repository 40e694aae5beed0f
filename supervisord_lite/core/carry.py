"""What one life of the service leaves to the next.

While a keeper lives, everything lives: its records are read back as they are (`records.py`). This
is about a keeper that is gone, and what was written down before.

===========================================  ========================  ======================
how the service ended                        breakers, backoff, counts  by hand: stops, sizes
===========================================  ========================  ======================
by decision (stopped; exit 75); by a boot    forgotten: all closed      forgotten
the keeper died without a verdict, or        as they were               hold on
gave up with 70
… and the worker is another program now      forgotten: all closed      hold on
===========================================  ========================  ======================

A breaker that was open at exit 75 must start closed, or the service that systemd starts again would
end again at once. Times are only good within one boot.
"""

from supervisord_lite.base.record import replace
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.states import Probing, Stopped, Stopping, Tripped, Waiting, Worker


def stays_down(worker: Worker) -> str:
    """Return what keeps a worker down until somebody says otherwise: "by hand", "open" or nothing.

    A stop by hand counts from the order on, and a breaker until the trial has proved the worker.
    """
    match worker.state:
        case Stopped(by_hand=True) | Stopping(outcome="stopped"):
            return "by hand"
        case Tripped() | Waiting(then="probe") | Probing() | Stopping(was_probing=True):
            return "open"
        case _:
            return ""


def is_worth_carrying(worker: Worker) -> bool:
    """Return whether *worker* differs, for the next service, from one that begins anew."""
    return bool(worker.failures) or stays_down(worker) != ""


def carried_over(saved: Worker, policy: Policy, *, is_other_program: bool = False) -> Worker:
    """Return the worker with which the service after a keeper's death begins.

    Nothing of it is alive: whatever had survived the keeper was ended before. Its runs are counted
    from the beginning, like everybody's.

    Args:
        saved: As `from_record` returned it, of this boot.
        policy: The one in force now.
        is_other_program: What had failed is not what will be started.
    """
    fresh = Worker(saved.pool, saved.index, policy)
    why = stays_down(saved)
    if why == "by hand":
        fresh = fresh.in_state(Stopped(by_hand=True))
    if is_other_program:
        return fresh
    kept = replace(
        saved,
        policy=policy,
        state=fresh.state,
        run=0,
        spent=0,
        recycle="",
        settled_s=None,
        is_owed=False,
        failures=saved.failures[-policy.max_restarts :],
    )
    if why != "open":
        return kept
    if isinstance(saved.state, Tripped):
        return kept.in_state(saved.state)
    # Its cooldown was over: due at once, and still a start on trial.
    at_s = saved.failures[-1] if saved.failures else 0.0
    return kept.in_state(Tripped(at_s, at_s))
