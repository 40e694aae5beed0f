"""What to do about one worker: imperatives, performed by the shell in order."""

from supervisord_lite.base.record import record
from supervisord_lite.core.policy import StopScope


@record
class Spawn:
    """Start `run`. Idempotent: the keeper starts one run once, however often it is asked."""

    run: int


@record
class SendSignal:
    """Send one signal of the stop ladder to `run`: its leader, or every process of its tree."""

    run: int
    signal: int
    scope: StopScope


@record
class KillTree:
    """SIGKILL to everything that belongs to `run`, until nothing is left."""

    run: int


@record
class Announce:
    """Something that people and the event journal should hear about: one per visible change.

    Attributes:
        event: See below.
        fields: Evidence, then what is next, in printing order: (("pid", 4123), ("in_s", 4.1) …).

    Every event of a run begins with `run`. *Evidence* of an end is `pid`, then `code` or `signal`
    (its name), then `reason` where that says more ("not ready after 60s"), then `ran_s`. *Next* is
    `next`: "restart", "probe" (with `in_s`), "reset" (it waits for a person), "schedule" or "none".

    - worker.started: run, pid, by ("schedule", where its planned time has come).
    - worker.ready: run, pid, after_s.
    - worker.failed: run, evidence, failure, of ("failure 3 of 5"), attempt, next.
    - worker.tripped: failures, of, window_s, reason (not when the count alone tripped it), next.
    - worker.probing: run; a tripped worker is started on trial.
    - worker.reset: reason; the breaker is closed, or failures were forgotten.
    - worker.exited: run, evidence, next. It ended by itself with an ok exit code.
    - worker.stopped: run, evidence, asked ("stop", "restart", "shutdown", "replaced": another run
      has taken its place). Nothing of it is left. Without run and evidence when there was no
      process.
    - worker.rejected: run, evidence. It was to take the place of another run, and did not become
      ready; nothing of it is left, and the other one was not touched.
    - worker.recycled: run, evidence, reason ("age 24h"), next. Nothing of it is left, and a fresh
      run follows; no failure.
    - worker.oom: run, pid, reason; the kernel has killed it for memory. What follows from its end
      is told after that.
    - job.failed: run, evidence, failures. A planned run is given up; the next one comes as planned.
    - job.skipped: planned, reason. Left out: a run was going, or waited for others.
    - job.missed: planned (the first one), next ("start" or "none").
    - worker.cleared: run, left, killed ("4123 sh, 4130 sleep"): what it had left behind.
    """

    event: str
    fields: tuple[tuple[str, str | int | float], ...] = ()


Action = Spawn | SendSignal | KillTree | Announce
