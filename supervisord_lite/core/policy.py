"""What the configuration says about one worker's life, as the core needs it."""

from typing import Literal

from supervisord_lite.base.record import record
from supervisord_lite.core.schedule import Schedule

RestartPolicy = Literal["always", "on-failure", "never"]
StopScope = Literal["leader", "tree"]
#: What makes a start a ready worker. "alive": it has lived `ready_after_s` (0: spawned is ready).
#: "exit": it ended with an ok exit code, as a one-shot does. "said" and "health": somebody who can
#: know says so (`events.ReadySaid`): the worker by a notification or a descriptor, or a probe.
ReadyBy = Literal["alive", "exit", "said", "health"]
#: Whose open breaker ends the whole service: nobody's, any instance's, or that of all of them.
Critical = Literal["no", "any", "all"]


@record
class BackoffPolicy:
    """How long to wait before a restart: min * factor^n up to max.

    With jitter the wait is a draw from [delay/2, delay], so it never exceeds `max_s`.
    """

    min_s: float = 1.0
    max_s: float = 300.0
    factor: float = 2.0
    jitter: bool = True


@record
class Rung:
    """One step of the stop ladder: send `signal`, then wait up to `timeout_s`."""

    signal: int
    timeout_s: float


@record
class Policy:
    """The life of one worker. Defaults are those of the configuration file.

    Attributes:
        ready_by: What makes it ready.
        ready_after_s: Of "alive": ready when it has lived this long; 0 means ready when spawned.
        start_timeout_s: Not ready by then is a failure. Not of "exit", which `run_timeout_s` ends.
        run_timeout_s: A run that lasts longer is stopped and counts as a failure; None: no limit.
        stop_ladder: At least one rung; SIGKILL to the whole tree follows the last one.
        max_restarts: This many failures inside the window trip the breaker (5: five starts).
        circuit_cooldown_s: After this long a tripped worker gets one start on trial; None: never.
        schedule: When it runs; None: as long as it is wanted up.
    """

    restart: RestartPolicy = "on-failure"
    ok_exit_codes: tuple[int, ...] = (0,)
    autostart: bool = True
    ready_by: ReadyBy = "alive"
    ready_after_s: float = 1.0
    start_timeout_s: float = 60.0
    run_timeout_s: float | None = None
    stop_ladder: tuple[Rung, ...] = (Rung(15, 10.0),)
    stop_scope: StopScope = "leader"
    stable_run_period_s: float = 30.0
    max_restarts: int = 5
    circuit_window_s: float = 600.0
    circuit_cooldown_s: float | None = None
    backoff: BackoffPolicy = BackoffPolicy()
    schedule: Schedule | None = None
