"""The supervisor's entrance: started by the keeper with three descriptors."""

import os
import signal
import socket

from supervisord_lite.base import exit_codes, prctl
from supervisord_lite.base.clock import SystemClock, SystemRng
from supervisord_lite.base.packets import PacketSocket
from supervisord_lite.keeper.journal import Journal
from supervisord_lite.supervisor import garbage
from supervisord_lite.supervisor.adoption import handover_of, protocol_of, read_handover
from supervisord_lite.supervisor.loop import KeeperGoneError, Supervisor
from supervisord_lite.supervisor.other_keeper import replace_keeper
from supervisord_lite.wire import channel


def main(arguments: list[str]) -> int:
    """Supervise until the daemon ends; return the verdict for the keeper.

    Args:
        arguments: Descriptors: the channel to the keeper, the handover, the control socket, and
            the socket for HTTP where there is one.
    """
    prctl.protect()
    prctl.set_name("sdl-supervisor")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # The keeper takes the daemon's signals; these only come from somebody's mistake.
        signal.signal(number, signal.SIG_IGN)
    garbage.take_charge()
    own, handover_fd, listener, *https = map(int, arguments)
    for descriptor in (own, listener, *https):
        # A child that outlives us must not be taken for us, by clients or by the next `run`.
        os.set_inheritable(descriptor, False)
    said = read_handover(handover_fd)
    if protocol_of(said) != channel.PROTOCOL:
        return replace_keeper(PacketSocket(socket.socket(fileno=own), channel.MAX_MESSAGE_BYTES))
    handover = handover_of(said)
    style, level = handover.saves["log"].split()
    supervisor = Supervisor(
        socket.socket(fileno=own),
        socket.socket(fileno=listener),
        handover,
        clock=SystemClock(),
        rng=SystemRng(),
        journal=Journal(2, style, level),
        own_uid=os.getuid(),
        http_listener=socket.socket(fileno=https[0]) if https else None,
    )
    try:
        return supervisor.run()
    except KeeperGoneError:
        return exit_codes.INTERNAL_ERROR
