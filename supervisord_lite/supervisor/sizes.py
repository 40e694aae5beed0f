"""Sizes that people give to pools, until the file itself gives them another one."""

from supervisord_lite.base.record import replace
from supervisord_lite.config.plan import make_plan
from supervisord_lite.config.spec import Spec
from supervisord_lite.core.scale import MAX_POOL_SIZE, ScaledByHand
from supervisord_lite.supervisor.changeover import (
    HalfChangedError,
    Touched,
    cannot_have,
    change_over,
    of_size,
    touched,
)
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.in_force import InForce
from supervisord_lite.supervisor.rolls import Rolls


class Sizes:
    """Changes them, in force and in what is known of the file."""

    def __init__(self, fleet: Fleet, rolls: Rolls, in_force: InForce) -> None:
        """Take what is changed."""
        self._fleet = fleet
        self._rolls = rolls
        self._in_force = in_force

    def why_not(self, spec: Spec, sizes: dict[str, int]) -> str:
        """Return why a pool cannot have its size of *sizes*, for people; empty: it can.

        Args:
            spec: As it is in force.
            sizes: Pool -> instances wanted, all that change together.
        """
        # One that is too large is refused for itself.
        others = [
            replace(other, pool_size=min(sizes.get(other.pool, other.pool_size), MAX_POOL_SIZE))
            for other in self._fleet.specs.values()
        ]
        return cannot_have(spec, sizes[spec.pool], others)

    def scale(self, sizes: dict[str, int]) -> Touched:
        """Give pools other sizes, until the file gives them another one itself.

        Args:
            sizes: Pool -> instances wanted; `why_not` of each has said nothing.

        Raises:
            HalfChangedError: A fault of ours, when part of it had happened.
        """
        fleet = self._fleet
        by_hand = dict(self._in_force.by_hand)
        of_file = {**fleet.specs, **self._in_force.of_file}
        specs = []
        for pool, spec in fleet.specs.items():
            size, original = sizes.get(pool, spec.pool_size), of_file[pool]
            if size == spec.pool_size:
                specs.append(spec)
            elif size == original.pool_size:
                by_hand.pop(pool, None)
                specs.append(original)
            else:
                by_hand[pool] = ScaledByHand(size, original.pool_size)
                specs.append(of_size(original, size))
        plan = make_plan(fleet.specs.values(), specs)
        how_many = touched(fleet, plan)
        try:
            change_over(fleet, self._rolls, plan, specs)
            self._in_force.amend(by_hand, of_file)
        except Exception as error:
            raise HalfChangedError from error
        return how_many

    def saved(self, sizes: dict[str, int], file: str, *, digests: tuple[str, str]) -> None:
        """Take it that a person's sizes stand in the file now.

        Args:
            sizes: Pool -> what the file says. One that a reload has taken out meanwhile is left
                out; that all others can have it, `why_not` has said.
            file: Which one, absolute.
            digests: Its SHA-256 before and after. Where something else is in force than what stood
                there before, the file goes on to differ.
        """
        fleet, by_hand = self._fleet, dict(self._in_force.by_hand)
        of_file = {**fleet.specs, **self._in_force.of_file}
        for pool in sizes.keys() & fleet.specs.keys():
            size, in_force = sizes[pool], fleet.specs[pool].pool_size
            of_file[pool] = of_size(of_file[pool], size)
            if in_force == size:
                by_hand.pop(pool, None)
            else:
                by_hand[pool] = ScaledByHand(in_force, size)
        before, after = digests
        files = self._in_force.files
        if files.get(file) == before:
            files = {**files, file: after}
        self._in_force.amend(by_hand, of_file, files)
