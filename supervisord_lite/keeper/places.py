"""What stands under a name in the file system, and must go on standing there.

Theory of operation
===================

Whoever clears away files under a daemon that runs takes no process and no lock from it, only names:
the socket goes on listening where nobody finds it, and the locks go on holding files that the next
daemon does not see. So the keeper, which owns them, keeps these names in their place:

=========  =======================================================================================
folder     state_dir and runtime_dir; the keeper holds the lock of the folder itself
lock       the file in each of the two; the keeper holds its lock, and what stands in it tells
           another daemon who has the folder (base/folder_lock.py)
parent     the folder of the control socket, where that is another one
socket     the control socket
notify     the notification sockets of workers (voices.py)
=========  =======================================================================================

Of each a descriptor is open. It is by its inode that a thing is known again; and what has lost its
name still has owner, group and mode, which the new one gets.

Hearing of it
-------------

One inotify, with a watch on each *thing*, not on what is in a folder: the kernel tells when a file
has lost a name or got another one, and nothing that is made or removed beside it wakes anybody. A
folder that is removed tells nothing, for it is open; but it must be empty before, so a lock or the
socket has gone first. (A mount over a folder is told by nobody, and neither is a folder above one
that gets another name.)

What is told only says that it is time to look; then all is looked at. First `_SETTLE_S` pass, so
that who removes a whole folder is through with it. A storm of deletions is looked at ever more
seldom, up to every `_LAST_GAP_S`; until then the inotify is not listened to, so that nobody spins.

Making it again
---------------

By the rules of the start (remaking.py): a folder of another user, a file where the socket was, a
socket on which somebody answers, a lock that another daemon holds are left as they are. That is
said in the log, in the status, and tried again, ever more seldom, up to every `_LAST_RETRY_S`;
workers go on. These are calls to a disk, as every start of a worker is, where something has just
happened on it.

A control socket that is made again is another socket. The supervisor that lives is sent it and goes
on with both until who waits at the old one is let in (control/server.py); those that come after it
inherit it. Whoever is connected notices nothing.

For as long as a folder is away, another daemon may be started on the same path: its lock was that
of the inode. Then it is that one's, and this one says so.

What happens when
-----------------

=========================  ========================================================================
the supervisor dies        the next one inherits the socket of now
the keeper replaces        descriptors and places are in its state; the new one watches anew, and
itself                     looks. One of an earlier version handed on only the locks of files: what
                           belongs to them is found by their names, and held from then on
there is no inotify        (the user has too many of them, or no watches): said once; nothing is
                           made again, and all else is as it was
the daemon ends            it takes away the socket only if that is its own
=========================  ========================================================================

Sockets on which workers listen are not of these: to be another one, a process must be another one.
One that is private is missed by the worker's health, which replaces it. Those that systemd has
handed on have names that are systemd's.
"""

from __future__ import annotations

import os
import select
import time

from supervisord_lite.base import inotify
from supervisord_lite.base.folder_lock import HeldError
from supervisord_lite.keeper import remaking
from supervisord_lite.keeper.control_socket import AnsweredError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from supervisord_lite.keeper.boot import Boot
    from supervisord_lite.keeper.journal import Journal
    from supervisord_lite.keeper.poller import Poller
    from supervisord_lite.keeper.voices import Voices

#: From the first thing that is told to the look.
_SETTLE_S = 0.03
#: Between two looks; doubled from the first to the last while there is no rest of that length.
_FIRST_GAP_S = 0.03
_LAST_GAP_S = 0.25
_REST_S = 5.0
#: What cannot be made again is tried again after this long, doubled each time.
_FIRST_RETRY_S = 1.0
_LAST_RETRY_S = 30.0

#: Notification sockets made again at one look, and how many that cannot be are told of.
_MOST_VOICES = 100
_MOST_TOLD = 10

_OF_FOLDERS = ("folder", "parent")


class Places:
    """All of them.

    Attributes:
        look_at_s: When to call `look`; None: not before something is told.
        troubles: Path -> why what must stand there cannot be made again.
    """

    def __init__(
        self,
        boot: Boot,
        journal: Journal,
        poller: Poller,
        voices: Voices,
        tell: Callable[[dict[str, Any]], None],
        serve_at: Callable[[int], None],
    ) -> None:
        """Take what stands in *boot*, and keep it up to date there.

        Args:
            boot: What the keeper has begun with.
            journal: For lines about it.
            poller: What the keeper sleeps in.
            voices: Whose names are kept, too.
            tell: Takes what the supervisor is to know.
            serve_at: Takes each control socket that is made again, listening.
        """
        self._boot = boot
        self._calls = boot.calls
        self._journal = journal
        self._poller = poller
        self._tell = tell
        self._serve_at = serve_at
        self._ear = -1
        self._watches: set[int] = set()
        self._is_deaf = False
        self._looked_at_s = -_REST_S
        self._gap_s = _FIRST_GAP_S
        self._retry_s = _FIRST_RETRY_S
        self._voices = voices
        self.look_at_s: float | None = None
        self.troubles: dict[str, str] = {}

    def begin(self, now_s: float) -> None:
        """Hear of what happens to them from now on, and look at what has happened until now."""
        boot = self._boot
        if boot.locks:
            boot.places += remaking.places_of_before(self._calls, boot.locks, boot.remove)
            boot.locks = []
        if not boot.places:
            return
        try:
            self._ear = self._calls.inotify_create()
        except OSError as error:
            self._say_deaf(error)
        self._voices.watch_names(self)
        self.look(now_s)

    def _say_deaf(self, error: OSError) -> None:
        if not self._is_deaf:
            self._is_deaf = True
            what = "sockets and locks that are deleted may not be made again"
            self._journal.write("warning", "places.unwatched", reason=error.strerror, next=what)

    # For voices.

    def watch(self, path: str) -> int:
        """Hear of what befalls what stands at *path*; return the number of the watch, -1: none."""
        try:
            mask = inotify.FILE | inotify.NO_LINK
            return -1 if self._ear < 0 else int(self._calls.inotify_watch(self._ear, path, mask))
        except FileNotFoundError:
            self._look_soon()  # it is gone already
        except OSError as error:
            self._say_deaf(error)
        return -1

    def forget(self, number: int) -> None:
        """End a watch."""
        inotify.forget(self._ear, number)

    # -- hearing -----------------------------------------------------------------------------------

    def _hear(self, _mask: int) -> None:
        try:
            has_news = inotify.has_news(self._ear)
        except OSError as error:
            self._say_deaf(error)
            self._poller.unwatch(self._ear)
            return
        if has_news:
            self._poller.unwatch(self._ear)
            self._look_soon()

    def _look_soon(self) -> None:
        at_s = max(time.monotonic() + _SETTLE_S, self._looked_at_s + self._gap_s)
        self.look_at_s = at_s if self.look_at_s is None else min(self.look_at_s, at_s)

    def _watch(self) -> None:
        """Watch what stands there now, and nothing else."""
        if self._ear < 0:
            return
        watches = set()
        for each in self._boot.places:
            if each["path"] in self.troubles:
                watches |= self._watch_other(each["path"])
            elif each["descriptor"] >= 0:
                mask = inotify.FOLDER if each["kind"] in _OF_FOLDERS else inotify.FILE
                inode = f"/proc/self/fd/{each['descriptor']}"
                try:
                    watches.add(self._calls.inotify_watch(self._ear, inode, mask))
                except OSError as error:
                    self._say_deaf(error)
        for number in self._watches - watches:
            inotify.forget(self._ear, number)
        self._watches = watches
        self._poller.watch(self._ear, select.EPOLLIN, self._hear)

    def _watch_other(self, path: str) -> set[int]:
        """Watch what stands in our place, if anything does and may be watched."""
        try:
            return {self._calls.inotify_watch(self._ear, path, inotify.FILE | inotify.NO_LINK)}
        except OSError:
            return set()

    # -- looking -----------------------------------------------------------------------------------

    def turn(self, now_s: float) -> None:
        """Look, if it is time."""
        if self.look_at_s is not None and now_s >= self.look_at_s:
            self.look(now_s)

    def look(self, now_s: float) -> None:
        """Put in its place what is not there."""
        is_rested = now_s >= self._looked_at_s + _REST_S
        self._gap_s = _FIRST_GAP_S if is_rested else min(2 * self._gap_s, _LAST_GAP_S)
        self._looked_at_s = now_s
        self.look_at_s = None
        before, self.troubles = self.troubles, {}
        for each in self._boot.places:
            if not self._is_lost(each):
                self._see_to(each, before.get(each["path"]))
        self._restore_voices(before)
        if self.troubles != before:
            self._tell({"places": self.troubles})
        if self.troubles:
            self.look_at_s = now_s + self._retry_s
            self._retry_s = min(2 * self._retry_s, _LAST_RETRY_S)
        else:
            self._retry_s = _FIRST_RETRY_S
        self._watch()
        # What has happened before it was watched is told by nobody.
        if not all(_stands(each) for each in self._boot.places if not self._is_lost(each)):
            self._look_soon()

    def _restore_voices(self, before: dict[str, str]) -> None:
        count, troubles = self._voices.restore(_MOST_VOICES)
        if count:
            self._journal.write("warning", "place.restored", what="notify", count=count)
        if count + len(troubles) == _MOST_VOICES:
            self._look_soon()  # there may be more
        for path, reason in list(troubles.items())[:_MOST_TOLD]:
            self.troubles[path] = reason
            if reason != before.get(path):
                self._journal.write("error", "place.lost", what="notify", path=path, reason=reason)

    def _is_lost(self, each: dict[str, Any]) -> bool:
        """Return whether it cannot be there, or its folder cannot."""
        return each["path"] in self.troubles or os.path.dirname(each["path"]) in self.troubles

    def _see_to(self, each: dict[str, Any], said_before: str | None) -> None:
        kind, path = each["kind"], each["path"]
        try:
            is_news = self._put_right(each) or said_before is not None
        except (OSError, HeldError, AnsweredError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self.troubles[path] = reason
            if reason != said_before:
                self._journal.write(
                    "error", "place.lost", what=kind, path=path, reason=reason,
                    next_in_s=self._retry_s,
                )  # fmt: skip
        else:
            if is_news:
                self._journal.write("warning", "place.restored", what=kind, path=path)

    def _put_right(self, each: dict[str, Any]) -> bool:
        """Return whether it had to be made again."""
        if _stands(each):
            return False
        path, former = each["path"], each["descriptor"]
        if each["kind"] in _OF_FOLDERS:
            hold = each["kind"] == "folder"
            each["descriptor"] = remaking.folder(self._calls, path, former, hold=hold)
        elif each["kind"] == "lock":
            each["descriptor"] = remaking.lock(self._calls, path, former)
        else:
            listener, each["descriptor"] = remaking.listener(self._calls, path, former)
            self._serve_at(listener)
        if former >= 0:
            self._calls.close(former)
        return True

    def may_remove(self, path: str) -> bool:
        """Return whether nobody else's stands there."""
        return all(_stands(each) for each in self._boot.places if each["path"] == path)


def _stands(each: dict[str, Any]) -> bool:
    """Return whether what stands under the name is what we have of it."""
    if each["descriptor"] < 0:
        return False
    try:
        found = os.stat(each["path"], follow_symlinks=each["kind"] in _OF_FOLDERS)
    except OSError:
        return False
    return os.path.samestat(found, os.fstat(each["descriptor"]))
