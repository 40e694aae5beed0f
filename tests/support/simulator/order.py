"""Who must wait for whom, worked out each time from how everybody is: no counting, no memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial

from supervisord_lite.core.pools import Pool, Slot
from tests.support.simulator.model import SlotModel
from tests.support.simulator.violation import BrokenPromiseError


class OrderModel:
    """The order of start and stop among pools."""

    def __init__(
        self, pools: Iterable[Pool], models: Mapping[Slot, SlotModel], *, has_end: bool = False
    ) -> None:
        """Begin; with *has_end* there is somebody who ends the service when it is broken."""
        self._has_end = has_end
        self._pools = {pool.name: pool for pool in pools}
        self._models = models
        self.is_ending = False  #: somebody was told so; nobody starts any more
        self._of = {
            name: [model for slot, model in models.items() if slot[0] == name]
            for name in self._pools
        }
        self._behind = {name: self._all_behind(name) for name in self._pools}
        self.has_ties = any(pool.requires or pool.after for pool in self._pools.values())
        for (name, _), model in models.items():
            model.gate = partial(self.must_wait, name) if self.has_ties else self.is_over_for

    def _all_behind(self, name: str) -> set[str]:
        behind: set[str] = set()
        for pool in self._pools.values():
            if name in (*pool.requires, *pool.after):
                behind |= {pool.name} | self._all_behind(pool.name)
        return behind

    def must_wait(self, name: str, ask: str) -> bool:
        """Return whether a start, or a stop, in this pool must wait for its turn."""
        if ask == "stop":
            return any(model.aim for each in self._behind[name] for model in self._of[each])
        if self.is_over_for(ask):
            return True
        pool = self._pools[name]
        if ask in ("start", "due"):
            unready = any(not self._is_ready(each) for each in pool.requires)
            return unready or any(not self._has_given_all(each) for each in pool.after)
        return any(not any(map(is_ready, self._of[each])) for each in pool.requires)

    def is_over_for(self, ask: str) -> bool:
        """Return whether nobody may start, since the service ends or is about to."""
        return ask != "stop" and (self.is_ending or (self._has_end and self.is_broken()))

    def _is_ready(self, name: str) -> bool:
        """Return whether everybody is ready whom anybody wants up, and there is one."""
        wanted = [model for model in self._of[name] if not _rests(model, "stopped")]
        return bool(wanted) and all(map(is_ready, wanted))

    def _has_given_all(self, name: str) -> bool:
        """Return whether nothing of a pool is on its way up, but what waits in vain."""
        members = self._of[name]
        at_rest = all(is_settled(model) or _rests(model, "waiting") for model in members)
        return at_rest and (not self._waits(name) or self.waits_in_vain(name))

    def _waits(self, name: str) -> bool:
        return any(_rests(model, "waiting") for model in self._of[name])

    def waits_in_vain(self, name: str) -> bool:
        """Return whether what it requires has given up, or itself waits in vain."""
        for each in self._pools[name].requires:
            if self._waits(each):
                if self.waits_in_vain(each):
                    return True
            elif all(map(is_settled, self._of[each])) and not self._is_ready(each):
                return True
        return False

    def all_ahead(self, name: str) -> set[str]:
        """Return the pools that *name* waits for, through others too, and itself."""
        return {name} | {each for each in self._pools if name in self._behind[each]}

    def is_ahead(self, name: str, other: str) -> bool:
        """Return whether *other* waits for *name* to start, and stops before it."""
        return other in self._behind[name]

    def is_broken(self) -> bool:
        """Return whether a critical worker's breaker is open."""
        for name, pool in self._pools.items():
            wanted = [model for model in self._of[name] if not _rests(model, "stopped")]
            tripped = [model for model in wanted if _rests(model, "tripped")]
            is_all = bool(wanted) and len(tripped) == len(wanted)
            if (pool.critical == "any" and tripped) or (pool.critical == "all" and is_all):
                return True
        return False

    def check(self) -> None:
        """Look whether anybody waits whose turn has come.

        Raises:
            BrokenPromiseError: Somebody does.
        """
        for slot, model in self._models.items():
            twin = getattr(model, "twin", None)
            if (
                twin is not None
                and _rests(twin, "waiting")
                and not self.must_wait(slot[0], "start")
            ):
                message = f"the new run of {slot} waits for its turn, and it has come"
                raise BrokenPromiseError(message)
            ask = "stop" if model.is_held else model.then if _rests(model, "waiting") else ""
            if ask and not self.must_wait(slot[0], ask):
                message = f"{slot} waits for its turn to {ask}, and it has come"
                raise BrokenPromiseError(message)


def _rests(model: SlotModel, where: str) -> bool:
    return model.tree == "none" and model.rest == where


def is_ready(model: SlotModel) -> bool:
    """Return whether it counts as ready: also a one-shot that ended well."""
    if model.tree == "alive":
        return model.ready and not model.is_leaving
    is_one_shot = model.policy.ready_by == "exit"
    return _rests(model, "exited") and is_one_shot and model.code in model.policy.ok_exit_codes


def is_settled(model: SlotModel) -> bool:
    """Return whether it is ready, has given up, or waits longer than any start may take."""
    if _rests(model, "backoff"):
        return not model.failed_before or model.delay_s > model.policy.start_timeout_s
    is_down = model.tree == "none" and model.rest in (
        "stopped", "exited", "tripped", "scheduled"
    )  # fmt: skip
    return is_down or is_ready(model)
