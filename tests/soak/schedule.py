"""What happens when: a list that follows from the seed alone."""

import random  # noqa: TID251  # seeded, and the seed is printed
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from tests.soak.fleet import Fleet

#: Between two faults, on average.
EVERY_S = 0.4


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        at_s: Since the round's beginning.
        kind: A method of `Chaos`.
        target: A worker or a pool, or empty.
        amount: Of whatever the kind needs, in [0, 1).
    """

    at_s: float
    kind: str
    target: str
    amount: float

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.at_s:6.2f} s  {self.kind} {self.target} {self.amount:.3f}"


#: How often each kind comes, relative to the others, and whom it needs: the right of a fleet, or
#: "pool" for a whole pool that may be ordered, or nobody.
KINDS: dict[str, tuple[float, str]] = {
    "kill_worker": (12, "kill"),
    "kill_many": (1.5, ""),
    "pause_worker": (4, "kill"),
    "flood": (3, "flood"),
    "kill_supervisor": (4, ""),
    "pause_supervisor": (1.5, ""),
    "hang_supervisor": (0.3, ""),
    "kill_scribe": (4, ""),
    "pause_scribe": (1, ""),
    "kill_both": (1, ""),
    "kill_forkserver": (1.5, ""),
    "kill_children": (2, ""),
    "pause_all": (0.7, ""),
    "stop": (3, "order"),
    "start": (3, "order"),
    "restart": (3, "order"),
    "roll": (1, "pool"),
    "scale": (1.5, ""),
    "reload_same": (1, ""),
    "reload_broken": (1.5, ""),
    "reload_changed": (2, "pool"),
    "dry_run": (1, ""),
    "reset": (2, ""),
    "sample": (1.5, ""),
    "ask": (1, "kill"),
    "hangup_storm": (0.7, ""),
    "reopen": (1.5, ""),
    "disk_full": (1, ""),
    "disk_frozen": (0.8, ""),
    "client_hangs": (1, ""),
    "client_halves": (1, ""),
    "client_junk": (1, ""),
    "client_deaf": (1, ""),
    "client_leaves": (1, "order"),
    "crowd": (0.5, ""),
    "visit": (2, ""),
    # Only where it is named: a main process that replaces itself has nothing of what it had before.
    "upgrade": (0, ""),
}


def schedule(
    seed: int, rounds: int, chaos_s: float, fleet: Fleet, only: Collection[str] = ()
) -> list[list[Fault]]:
    """Return the faults of each round.

    Args:
        seed: What all of it follows from.
        rounds: How many.
        chaos_s: How long each lasts.
        fleet: Whom it may happen to.
        only: Kinds; all without any.
    """
    rng = random.Random(seed)
    kinds = {
        name: (weight or 2.0, need)
        for name, (weight, need) in KINDS.items()
        if (name in only if only else weight)
    }
    if fleet.full is None:
        kinds.pop("disk_full", None)
    if fleet.ice is None:
        kinds.pop("disk_frozen", None)
    victims = {need: _victims(fleet, need) for _, need in kinds.values()}
    names, weights = list(kinds), [weight for weight, _ in kinds.values()]
    planned = []
    for _ in range(rounds):
        at_s, faults = 0.0, []
        while (at_s := at_s + rng.expovariate(1 / EVERY_S)) < chaos_s:
            kind = rng.choices(names, weights)[0]
            those = victims[kinds[kind][1]]
            faults.append(Fault(at_s, kind, rng.choice(those), rng.random()))
        planned.append(faults)
    return planned


def _victims(fleet: Fleet, need: str) -> Sequence[str]:
    match need:
        case "":
            return [""]
        case "pool":
            return [
                pool.name
                for pool in fleet.pools.values()
                if "change" in pool.may and (pool.size < 9 or pool.kind == "forked")
            ]
        case "flood":
            return [
                slot
                for pool in fleet.pools.values()
                if pool.kind in ("lines", "crash", "beat") and pool.name not in ("full", "ice")
                for slot in pool.slots
            ]
        case right:
            return fleet.slots(right)
