"""What one life of the service leaves to the next.

While a keeper lives, everything lives: its records are read back as they are (`records.py`). This
is about a keeper that is gone, and what was written down before.

===========================================  ========================  ======================
how the service ended                        breakers, backoff, counts  by hand: stops, sizes
===========================================  ========================  ======================
by decision (stopped; exit 75); by a boot    forgotten: all closed      forgotten
the keeper died without a verdict            as they were               hold on
… and the worker is another program now      forgotten: all closed      hold on
===========================================  ========================  ======================

A breaker that was open at exit 75 must start closed, or the service that systemd starts again would
end again at once. Times are only good within one boot.
"""

from supervisord_lite.base.record import replace
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.states import Stopped, Tripped, Waiting, Worker


def is_worth_carrying(worker: Worker) -> bool:
    """Return whether *worker* differs, for the next service, from one that begins anew."""
    return bool(worker.failures) or _stays_down(worker)


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
    if saved.state == Stopped(by_hand=True):
        fresh = fresh.in_state(saved.state)
    if is_other_program:
        return fresh
    kept = replace(
        saved,
        policy=policy,
        state=fresh.state,
        run=0,
        failures=saved.failures[-policy.max_restarts :],
    )
    match saved.state:
        case Tripped():
            return kept.in_state(saved.state)
        case Waiting(then="probe"):
            # Its cooldown is over: due at once, and still a start on trial.
            at_s = saved.failures[-1] if saved.failures else 0.0
            return kept.in_state(Tripped(at_s, at_s))
        case _:
            return kept


def _stays_down(worker: Worker) -> bool:
    state = worker.state
    return isinstance(state, Tripped) or state == Stopped(by_hand=True)
