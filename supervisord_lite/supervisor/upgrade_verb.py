"""The method that puts other code in force."""

from collections.abc import Callable
from functools import partial

from supervisord_lite import __version__
from supervisord_lite.base.resident import own_code
from supervisord_lite.control import interface, parameters
from supervisord_lite.control.calls import Call
from supervisord_lite.supervisor.events import Events
from supervisord_lite.supervisor.rights import Rights
from supervisord_lite.supervisor.upgrade import Accepted, NotAccepted, Upgrades

#: Of a path: Linux takes no longer ones.
_MOST_CHARACTERS = 4096


class UpgradeVerb:
    """Answers this call; whether the peer may ask at all has been seen to."""

    def __init__(
        self,
        upgrades: Upgrades,
        rights: Rights,
        journal: Events,
        replies: list[Callable[[], None]],
    ) -> None:
        """Take what does it.

        Args:
            upgrades: Do.
            rights: Know who may name code that is not installed in place.
            journal: Knows who asks.
            replies: Takes what is said when everything that it tells of is saved.
        """
        self._upgrades = upgrades
        self._rights = rights
        self._journal = journal
        self._replies = replies

    def upgrade(self, call: Call) -> None:
        """Try the code that is named, and put it in force; answer when that is ordered or refused.

        Raises:
            InvalidParameterError: A path that is none.
            NotPermittedError: The peer may not name other code than what is installed in place.
        """
        code = _path(call, "interpreter"), _path(call, "resident")
        if code != own_code():
            self._rights.check_owner(call.peer)
        self._upgrades.ask(
            partial(self._answer, call), code,
            is_dry=parameters.flag(call, "dry_run"), is_forced=parameters.flag(call, "keeper"),
            by=self._journal.asker(),
        )  # fmt: skip

    def _answer(self, call: Call, came: Accepted | NotAccepted) -> None:
        if isinstance(came, NotAccepted):
            hint = "nothing was changed"
            told = {"name": "", "reason": came.reason, "hint": hint}
            self._replies.append(partial(call.error, interface.REFUSED, told))
            return
        about = {"from": __version__, "to": came.version, "keeper": came.keeper}
        self._replies.append(partial(call.reply, {**about, "done": not came.is_dry}))


def _path(call: Call, parameter: str) -> str:
    path = parameters.text(call, parameter)
    if not path.startswith("/") or len(path) > _MOST_CHARACTERS or "\0" in path:
        raise parameters.InvalidParameterError(parameter)
    return path
