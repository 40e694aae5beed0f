"""Upgrades: other code comes into force, and no worker notices.

Theory of operation
===================

::

    Upgrade, SIGUSR2 ─▶ tried ──trial──▶ keeper ─▶ a child of the other code reads a copy of it all
                          │ ◀──trial───           (trial.py: builds what a supervisor builds)
            refused ◀─────┤ judged: an answer, every record understood
                          ▼
       (a reload that reads its file ends) ─▶ saved + "replace" in one message ─▶ this one leaves
                                                                                          │
    told  ◀─ daemon.upgraded ◀── adopts, finds what was saved ◀── the new supervisor ◀────┘

The same path as a crash, on purpose: what makes a crash harmless makes this harmless. Which code is
meant is said by who asks: an interpreter and the path of `base/resident.py` in the package that it
is to run, links kept. After `pip install -U` in place that is the same path, loaded anew.

*Who owns what.* The supervisor decides; the keeper tries, replaces, and goes back
(keeper/upgrade.py). Who asks for a trial owns it: it ends with this process, and whoever had asked
asks again.

*What is saved, and when.* Nothing while it is tried. With the order to replace, in its message:
from what to what, by whom, and when (the key `upgrade`). Whoever comes next finds it, tells the
journal what became of it, and marks it as told, in one message. It is `daemon.upgraded` for the
code that was meant; for any other `upgrade.failed`: the keeper went back, and says why
("fell_back"). That may come later too: the keeper watches the new code for a while.

*Killed here.* Before the order: nothing has happened. Behind it: it is carried out all the same.

*Who may.* Admins; but to run other code as the daemon's own user is to be that user. So only root
and that user name another installation; the others put in force what was installed in place.

*SIGUSR2* is the same from the path that runs now. It is not saved: a supervisor that dies is
started from that path too.

*The keeper* is replaced where its `PROTOCOL` is another one than that of the new code, or when that
is asked for. Files may also be replaced by hand, and a supervisor die: then the new one may find a
keeper of another protocol, and asks for the exchange before anything else (other_keeper.py).
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from supervisord_lite import __version__
from supervisord_lite.base.clock import Clock
from supervisord_lite.base.record import record
from supervisord_lite.base.resident import Code, own_code
from supervisord_lite.core.meetings import Doing, rule_for
from supervisord_lite.keeper.trial import LIMIT_S
from supervisord_lite.supervisor.adoption import Handover
from supervisord_lite.supervisor.daemon_state import DaemonState
from supervisord_lite.supervisor.fleet import Fleet
from supervisord_lite.supervisor.reload import Reloads

#: Among the saves: an upgrade that was ordered and of which nobody has told yet what became of it.
_SAVED = "upgrade"
#: The keeper gives up before.
_LIMIT_S = LIMIT_S + 10.0


@record
class Accepted:
    """The other code can go on from here.

    Attributes:
        version: Of it.
        keeper: Whether the main process is re-executed, too.
        is_dry: Nothing was changed.
    """

    version: str
    keeper: bool
    is_dry: bool


@record
class NotAccepted:
    """Nothing was changed; *reason* for people."""

    reason: str


#: Told what came of it, once, before the flush that makes it true.
Answer = Callable[[Accepted | NotAccepted], None]


class Upgrades:
    """The one that is under way, if any.

    Attributes:
        is_leaving: This supervisor has ordered to be replaced: it flushes, and ends.
        deadline_s: When to call `expire`; None: not at all.
        before_leaving: Called before the order to replace is given: what is known here alone is to
            be told now.
    """

    def __init__(
        self,
        fleet: Fleet,
        daemon: DaemonState,
        reloads: Reloads,
        handover: Handover,
        clock: Clock,
        log: Callable[..., None],
    ) -> None:
        """Begin with none.

        Args:
            fleet: With the outbox; knows whose records nobody can read.
            daemon: Whether it stops.
            reloads: Whose file is read to the end before.
            handover: Of the keeper, and what was saved.
            clock: Now.
            log: Takes events.
        """
        self._fleet = fleet
        self._daemon = daemon
        self._reloads = reloads
        self._handover = handover
        self._clock = clock
        self._log = log
        self.is_leaving = False
        self.deadline_s: float | None = None
        self.before_leaving: Callable[[], None] = lambda: None
        self._number = 0
        self._asked: _Asked | None = None

    def begin(self) -> bool:
        """After an adoption: tell what became of an upgrade; return whether this was one."""
        saved = self._handover.saves.get(_SAVED)
        was = {} if saved is None else json.loads(saved)
        if not was or (was.get("is_told") and not self._handover.fell_back):
            return False
        said = {"from": was["from"], "to": was["to"]}
        by = was.get("by") or {}
        if self._handover.fell_back or list(own_code()) != was["code"]:
            reason = self._handover.fell_back or "its keeper went back"
            left = None
            self._log("error", "upgrade.failed", **said, reason=reason, **by)
        else:
            left = json.dumps({**was, "is_told": True})
            gap_ms = round(1000 * (self._clock.now_s() - was["at_s"]))
            keeper = "replaced" if was["keeper"] else "kept"
            self._log("info", "daemon.upgraded", **said, keeper=keeper, gap_ms=gap_ms, **by)
        self._fleet.outbox.save(_SAVED, left, first=True)  # in the message of what is told here
        return True

    # -- asking ------------------------------------------------------------------------------------

    def signalled(self) -> None:
        """SIGUSR2: what was installed in place comes into force."""
        self.ask(lambda _came: None, own_code(), is_dry=False, by={"by": "SIGUSR2"})

    def ask(
        self,
        answer: Answer,
        code: Code,
        *,
        is_dry: bool,
        is_forced: bool = False,
        by: Mapping[str, object] | None = None,
    ) -> None:
        """Try other code, and put it in force if it is good.

        Args:
            answer: Called once, from the loop.
            code: Which.
            is_dry: Only tell whether it is good.
            is_forced: The main process is re-executed in any case.
            by: Who asks, as events tell it.
        """
        asked = _Asked(answer, code, is_dry=is_dry, is_forced=is_forced, by=by or {})
        if why := self._why_not():
            self._refuse(asked, why)
            return
        self._number += 1
        self._asked = asked
        asked.name = f"{self._handover.adoption}.{self._number}"
        self.deadline_s = self._clock.now_s() + _LIMIT_S
        order = {"id": asked.name, "interpreter": code[0], "resident": code[1]}
        self._fleet.outbox.say("trial", order)

    def _why_not(self) -> str:
        under_way: list[Doing] = []
        if self._daemon.is_stopping or self._daemon.is_draining:
            under_way.append("shutdown")
        if self._asked is not None or self.is_leaving:
            under_way.append("upgrade")
        if rule_for("upgrade", under_way) != "refused":
            return ""
        stops = "the daemon is stopping"
        return stops if "shutdown" in under_way else "another upgrade is under way"

    def _refuse(self, asked: "_Asked", reason: str) -> None:
        about = {"reason": reason, "code": asked.code[1], "is_dry": asked.is_dry, **asked.by}
        self._log("warning", "upgrade.refused", **about)
        asked.answer(NotAccepted(reason))

    # -- what the keeper says ----------------------------------------------------------------------

    def take(self, message: Mapping[str, Any]) -> None:
        """Take what a trial came to."""
        said, asked = message.get("trial"), self._asked
        if said is None or asked is None or said["id"] != asked.name or asked.is_tried:
            return
        asked.is_tried = True
        self.deadline_s = None
        if reason := self._judge(said):
            self._end(asked, reason)
            return
        keeper = asked.is_forced or said["protocol"] != self._handover.protocol
        accepted = Accepted(said["version"], keeper, asked.is_dry)
        if asked.is_dry:
            self._asked = None
            asked.answer(accepted)
        else:
            self._reloads.when_read(lambda: self._order(asked, accepted))

    def expire(self, now_s: float) -> None:
        """Give up a trial of which nobody tells."""
        if self.deadline_s is not None and now_s >= self.deadline_s and self._asked is not None:
            self.deadline_s = None
            self._end(self._asked, f"nothing was heard of its dry start for {_LIMIT_S:g} s")

    def _judge(self, said: Mapping[str, Any]) -> str:
        """Return what is wrong with an answer; empty: nothing."""
        if not said["ok"]:
            return str(said["reason"])
        known = {f"{pool}/{index}" for pool, index in self._fleet.unusable}
        for slot, why in said["unusable"].items():
            if slot not in known:
                return f"it cannot go on with {slot}: {why}"
        return ""

    def _end(self, asked: "_Asked", reason: str) -> None:
        self._asked = None
        self._refuse(asked, reason)

    def _order(self, asked: "_Asked", accepted: Accepted) -> None:
        if self._daemon.is_stopping or self._daemon.is_draining:
            self._end(asked, "the daemon is stopping")
            return
        self.before_leaving()
        about = {"from": __version__, "to": accepted.version}
        told = {**about, "keeper": "replaced" if accepted.keeper else "kept"}
        self._log("info", "daemon.upgrading", **told, code=asked.code[1], **asked.by)
        saved = {
            **about, "code": asked.code, "keeper": accepted.keeper,
            "at_s": self._clock.now_s(), "by": asked.by,
        }  # fmt: skip
        self._fleet.outbox.save(_SAVED, json.dumps(saved))
        order = {
            "interpreter": asked.code[0], "resident": asked.code[1],
            "version": accepted.version, "keeper": accepted.keeper,
        }  # fmt: skip
        self._fleet.outbox.say("replace", order)
        self.is_leaving = True
        asked.answer(accepted)


class _Asked:
    """What somebody wants."""

    def __init__(
        self, answer: Answer, code: Code, *, is_dry: bool, is_forced: bool, by: Mapping[str, object]
    ) -> None:
        self.answer = answer
        self.code = code
        self.is_dry = is_dry
        self.is_forced = is_forced
        self.by = dict(by)
        self.name = ""
        self.is_tried = False
