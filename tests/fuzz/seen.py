"""What a real supervisor says and keeps: seeds for whatever reads that."""

import json
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from supervisord_lite.config.load import judge
from supervisord_lite.config.spec import Spec
from supervisord_lite.core import events
from tests.support.supervisor import Daemon

#: A worker of each kind, whose files are where the test wants them.
FLEET = """\
[supervisor]
state_dir = "/nowhere/state"
runtime_dir = "/nowhere/run"
[control]
read = ["nobody"]
[defaults]
directory = "/nowhere"
[worker.web]
command = ["/bin/gunicorn", "shop:app", "--name", "web-%i"]
pool_size = 2
ready = "notify"
heartbeat_timeout = "30s"
sockets.http = "127.0.0.1:9"
sockets.own = "private"
health.exec = ["true"]
nice = 3
limits.nofile = 100
limits.memory = "1G"
max_surge = 1
operators = ["daemon"]
environment.MODE = "é\\u0007"
log.stdout = "/nowhere/web-%i.log"
log.format = "json"
[worker.db]
command = ["/bin/db"]
critical = true
secrets.KEY = "file:/nowhere/key"
user = "nobody"
stop_signal = ["SIGINT", "SIGTERM"]
stop_timeout = ["1s", "2s"]
log = "journal"
[worker.job]
command = "/bin/true"
requires = ["db"]
schedule.cron = "*/5 * * * *"
schedule.missed = "once"
[worker.once]
command = ["/bin/true"]
ready = "exit"
after = ["job"]
autostart = false
[worker.rank]
python = "shop.rank:Rank"
interpreter = "/bin/python3"
pool_size = 2
preload = ["shop"]
config.size = 3
recycle.memory = "1G"
[worker.ears]
command = ["/bin/ears"]
events = ["worker.*"]
restart = "always"
ready = "fd:3"
"""


@cache
def specs() -> tuple[Spec, ...]:
    """Return what the file above means."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder, "x.toml")
        path.write_text(FLEET)
        return judge(
            str(path), environ={"HOME": "/"}, as_root=os.geteuid() == 0
        ).configuration.specs


@cache
def told() -> tuple[dict[str, Any], ...]:
    """Return the messages of a supervisor that starts, stops and restarts that fleet."""
    daemon = Daemon(*specs())
    said: list[dict[str, Any]] = []
    obey = daemon.keeper.obey

    def heard(message: dict[str, Any]) -> None:
        said.append(json.loads(json.dumps(message)))
        obey(message)

    daemon.keeper.obey = heard  # type: ignore[method-assign]
    try:
        daemon.settle()
        daemon.pass_s(1.5)
        daemon.settle()
        for run in daemon.keeper.live()[:2]:
            daemon.keeper.end(run, 1)
        daemon.settle()
        for slot in list(daemon.workers):
            daemon.supervisor._fleet.feed(slot, events.StopRequested())
        daemon.settle()
    finally:
        daemon.close()
    return tuple(said)
