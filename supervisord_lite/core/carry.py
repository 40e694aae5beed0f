"""What one life of the service leaves to the next.

While a keeper lives, everything lives: its records are read back as they are (`records.py`). This
is about a keeper that is gone, and a state that was written down before.

===========================================  ========================  ======================
how the service ended                        breakers, backoff, counts  stopped by hand
===========================================  ========================  ======================
stopped; exit 75; the box booted             forgotten: all closed      forgotten
the keeper died without a verdict            as they were               stays stopped
===========================================  ========================  ======================

A breaker that was open at exit 75 must start closed, or the service that systemd starts again would
end again at once. Times are only good within one boot.
"""

from supervisord_lite.base.record import replace
from supervisord_lite.core.policy import Policy
from supervisord_lite.core.states import Stopped, Tripped, Waiting, Worker


def carried_over(saved: Worker, policy: Policy, *, had_verdict: bool, same_boot: bool) -> Worker:
    """Return the worker with which a new service begins, given what an earlier one had written.

    Nothing of it is alive: whatever had survived a keeper was ended before.

    Args:
        saved: As `from_record` returned it.
        policy: The one in force now.
        had_verdict: The earlier service ended by decision: stopped, or a documented exit status.
        same_boot: It ran since the box was last booted.
    """
    fresh = Worker(saved.pool, saved.index, policy)
    if had_verdict or not same_boot:
        return fresh
    kept = replace(
        saved, policy=policy, state=Stopped(), failures=saved.failures[-policy.max_restarts :]
    )
    match saved.state:
        case Stopped(by_hand=True) | Tripped():
            return kept.in_state(saved.state)
        case Waiting(then="probe"):
            # Its cooldown is over: due at once, and still a start on trial.
            at_s = saved.failures[-1] if saved.failures else 0.0
            return kept.in_state(Tripped(at_s, at_s))
        case _:
            return kept
