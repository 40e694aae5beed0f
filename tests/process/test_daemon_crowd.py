"""Many clients that want nothing, and one that does."""

import socket
import time
from contextlib import ExitStack

import pytest

from supervisord_lite.control.client import Client
from tests.support.daemon import Daemon

pytestmark = pytest.mark.process

SILENT = 600


def test_six_hundred_silent_clients_delay_nobody() -> None:
    """A forgotten script with open connections does not lock the operator out."""
    with (
        Daemon("[worker.web]\ncommand = ['/bin/sleep', '1000']\n") as daemon,
        ExitStack() as stack,
    ):
        crowd = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(SILENT)]
        for client in crowd:
            client.connect(str(daemon.control_path))
        waits_s = []
        for _ in range(5):
            begun_s = time.monotonic()
            with Client(str(daemon.control_path)) as operator:
                assert operator.call("Status")["workers"][0]["name"] == "web"
            waits_s.append(time.monotonic() - begun_s)

        assert daemon.ctl("status").returncode == 0
        assert max(waits_s) < 0.5, waits_s
