"""What a seed decides: policies, how processes behave, and which faults are on."""

from __future__ import annotations

import random  # noqa: TID251  # seeded, and only here

from supervisord_lite.base.record import replace
from supervisord_lite.config.spec import Launch, Origin, Spec
from supervisord_lite.core.policy import BackoffPolicy, Critical, Policy, Rung
from supervisord_lite.core.pools import Pool
from supervisord_lite.core.schedule import Schedule

Chance = random.Random

TERM, INT, QUIT, KILL = 15, 2, 3, 9
_LADDERS = (
    (Rung(TERM, 10.0),),
    (Rung(TERM, 5.0), Rung(QUIT, 2.0)),
    (Rung(INT, 1.0), Rung(TERM, 3.0), Rung(TERM, 0.5)),
    (Rung(TERM, 0.0),),
)
#: Set-up stages that fail, with what is said of the failure: (stage, missing, hopeless).
STAGES = (
    ("exec", True, False),
    ("exec", False, False),
    ("directory", True, False),
    ("cgroup", False, False),
    ("fork", False, False),
    ("limits", False, False),
    ("user", False, True),
)


def chance(seed: int) -> Chance:
    """Return where all chance of one simulation comes from."""
    return random.Random(seed)


def a_policy(rng: Chance, *, may_be_job: bool = False) -> Policy:
    """Return a policy in which something happens within minutes; of a job where that may be."""
    policy = Policy(
        restart=rng.choice(("on-failure", "on-failure", "always", "never")),
        ok_exit_codes=rng.choice(((0,), (0,), (0, 3))),
        autostart=rng.random() < 0.8,
        ready_by=rng.choice(("alive", "alive", "said", "exit")),
        ready_after_s=rng.choice((0.0, 1.0, 1.0, 5.0, 70.0)),
        start_timeout_s=rng.choice((60.0, 60.0, 2.0)),
        run_timeout_s=rng.choice((None, None, 4.0, 40.0)),
        stop_ladder=rng.choice(_LADDERS),
        stop_scope=rng.choice(("leader", "tree")),
        stable_run_period_s=rng.choice((0.0, 3.0, 30.0, 30.0)),
        max_restarts=rng.randint(1, 6),
        circuit_window_s=rng.choice((5.0, 30.0, 600.0)),
        circuit_cooldown_s=rng.choice((None, None, 0.0, 10.0, 60.0)),
        backoff=BackoffPolicy(
            min_s=rng.choice((0.0, 0.1, 1.0, 1.0)),
            max_s=rng.choice((1.0, 8.0, 300.0)),
            factor=rng.choice((1.0, 2.0, 2.0, 10.0)),
            jitter=rng.random() < 0.7,
        ),
    )
    if may_be_job and rng.random() < 0.25:
        schedule = Schedule(
            every_s=rng.choice((5.0, 30.0, 100.0)),
            overlap=rng.choice(("skip", "wait")),
            missed=rng.choice(("skip", "once")),
        )
        restart = "on-failure" if policy.restart == "always" else policy.restart
        policy = replace(policy, schedule=schedule, restart=restart)
    # A file has no such time for those who become ready in another way.
    return policy if policy.ready_by == "alive" else replace(policy, ready_after_s=1.0)


def some_pools(rng: Chance) -> list[Pool]:
    """Return three pools; in half of all cases some wait for others, never in a circle."""
    names = ["a", "b", "c"]
    rng.shuffle(names)
    has_ties = rng.random() < 0.5
    pools = []
    for place, name in enumerate(names):
        ties: dict[str, list[str]] = {"requires": [], "after": []}
        for other in names[:place] if has_ties else ():
            kind = rng.choice(("requires", "requires", "after", ""))
            if kind:
                ties[kind].append(other)
        critical: Critical = rng.choice(("no", "no", "any", "all"))
        pools.append(Pool(name, tuple(ties["requires"]), tuple(ties["after"]), critical))
    return pools


def a_spec(pool: Pool, rng: Chance) -> Spec:
    """Return a pool with a policy, and one to three instances."""
    policy = a_policy(rng, may_be_job=pool.critical == "no")
    while pool.critical != "no" and not can_be_well(policy):
        # Else the service would end again and again, also when all faults have stopped.
        policy = a_policy(rng)
    return Spec(
        pool.name,
        rng.choice((1, 1, 2, 3)),
        policy,
        # Large ones need several messages for what one turn came to.
        Launch(("x",), "/", environment=(("V", "x" * rng.choice((1, 1, 59_000))),)),
        Origin("x", 1),
        requires=pool.requires,
        after=pool.after,
        critical=pool.critical,
        max_unavailable=rng.choice((1, 1, 2)) - (pool.name == "b"),
        max_surge=int(pool.name == "b"),
    )


def can_be_well(policy: Policy) -> bool:
    """Return whether a good program is up for good under this policy."""
    is_in_time = policy.ready_by == "alive" and policy.ready_after_s < policy.start_timeout_s
    return is_in_time and policy.run_timeout_s is None and policy.schedule is None


class Faults:
    """Which faults a seed has switched on, and how often they come: 0 is never."""

    __slots__ = (
        "crash", "failed_spawn", "judged", "left_behind", "lost", "policy", "reload_burst",
        "slow_spawn", "stall", "stubborn", "torn",
    )  # fmt: skip

    def __init__(self, rng: Chance) -> None:
        self.failed_spawn = _some(rng, 0.05, 0.5)
        self.slow_spawn = _some(rng, 0.05, 0.3)
        self.judged = _some(rng, 0.05, 0.2)
        self.left_behind = _some(rng, 0.1, 0.5)
        self.stubborn = _some(rng, 0.1, 0.6)
        self.crash = _some(rng, 0.0003, 0.003)
        self.torn = _some(rng, 0.0003, 0.003)
        self.lost = _some(rng, 0.01, 0.04)
        self.stall = _some(rng, 0.01, 0.1)
        self.policy = _some(rng, 0.005, 0.03)
        self.reload_burst = _some(rng, 0.1, 0.3)

    def stop(self) -> None:
        """Let there be no faults any more."""
        for name in self.__slots__:
            setattr(self, name, 0.0)


def _some(rng: Chance, low: float, high: float) -> float:
    """Return how often one fault comes: in a third of all seeds never."""
    return 0.0 if rng.random() < 1 / 3 else rng.uniform(low, high)


class Behaviour:
    """How one process behaves.

    Attributes:
        lives_s: It ends by itself after so long.
        code, signal: How it ends by itself.
        heeds_s: After which time it ends on a signal of the stop ladder; None: it ignores it.
        says_s: After which time it says that it is ready; None: never.
        extends_s: After which time it asks for more time; None: never.
        leaves_s: How long others of its tree live on after it; None: there are none.
    """

    __slots__ = ("code", "extends_s", "heeds_s", "leaves_s", "lives_s", "says_s", "signal")

    def __init__(self, rng: Chance, faults: Faults, *, is_crash_loop: bool) -> None:
        draw = rng.random()
        if is_crash_loop or draw < 0.35:
            self.lives_s = rng.uniform(0.0, 3.0)
        elif draw < 0.75:
            self.lives_s = rng.uniform(3.0, 90.0)
        else:
            self.lives_s = rng.uniform(90.0, 3000.0)
        self.code: int | None = 0 if not is_crash_loop and draw % 0.1 < 0.03 else 1
        self.signal: int | None = None
        if draw % 0.05 < 0.01:
            self.code, self.signal = None, 11
        elif draw % 0.05 > 0.045:
            self.code = 3
        is_stubborn = rng.random() < faults.stubborn
        self.heeds_s: float | None = None if is_stubborn else draw % 0.01 * 100
        is_silent = rng.random() < 0.1
        self.says_s: float | None = None if is_silent else rng.choice((0.0, 0.5, 2.0, 65.0))
        self.extends_s: float | None = None
        if rng.random() < 0.1:
            self.extends_s = rng.choice((0.0, 1.0, 59.0))
        self.leaves_s: float | None = None
        if faults.left_behind and rng.random() < faults.left_behind:
            self.leaves_s = rng.choice((0.0, 0.01, 0.5, 8.0, 20.0))

    def be_good(self) -> None:
        """Live on, say that it is ready, and end when told to."""
        self.lives_s, self.says_s, self.leaves_s, self.extends_s = 1e9, 0.5, None, None
        self.heeds_s = 0.01
