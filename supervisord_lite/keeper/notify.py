"""Words to systemd. Only the main process may say them (NotifyAccess=main).

Source: sd_notify(3).
"""

from __future__ import annotations

import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Notifier:
    """The notification socket, if there is one.

    Attributes:
        watchdog_s: How often systemd wants to hear from us, or None.
    """

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID."""
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._socket: socket.socket | None = None
        if path:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.watchdog_s: float | None = None
        usec = environment.get("WATCHDOG_USEC", "")
        if path and usec.isdigit() and environment.get("WATCHDOG_PID", str(pid)) == str(pid):
            self.watchdog_s = int(usec) / 1e6

    def send(self, text: str) -> None:
        """Send assignments, one a line. Nobody listening is not our trouble."""
        if self._socket is not None:
            try:
                self._socket.sendto(text.encode(), self._address)
            except OSError:
                return
