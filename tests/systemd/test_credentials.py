"""A credential that systemd hands to the daemon reaches a worker, and nobody else."""

from pathlib import Path

import pytest

from tests.support.systemd import Machine
from tests.support.wait import wait_until

pytestmark = [pytest.mark.systemd, pytest.mark.process, pytest.mark.root, pytest.mark.slow]

UNIT = "supervisord-lite.service"
CONFIG = "/etc/supervisord-lite/supervisord-lite.toml"
SOCKET = "/run/supervisord-lite/control/control.sock"
CANARY = "c4nary-hunter2"
WORKERS = """
[defaults]
ready = "spawned"
user = "nobody"
command = ["/bin/sleep", "100000"]
[worker.variable]
secrets.SENTRY_DSN = "credential:sentry_dsn"
[worker.file]
secrets_as = "files"
secrets.SENTRY_DSN = "credential:sentry_dsn"
[worker.none]
"""


def test_a_credential_of_the_unit_reaches_a_worker_of_another_user(installed: Machine) -> None:
    """As variable or as file on a tmpfs; the folder of all credentials is told to nobody."""
    installed.write("/etc/kept", f"{CANARY}\n", mode=0o600)
    unit = installed.read(f"/etc/systemd/system/{UNIT}")
    installed.install_unit(UNIT, unit, given="[Service]\nLoadCredential=sentry_dsn:/etc/kept\n")
    installed.write(CONFIG, WORKERS)
    installed.systemctl("start", UNIT)

    found = installed.run("pgrep", "-f", "-x", "/bin/sleep 100000").stdout.split()
    environments = [
        Path(f"/proc/{installed.host_pid(int(pid))}/environ").read_bytes() for pid in found
    ]
    assert len(environments) == 3
    given = [text for text in environments if f"SENTRY_DSN={CANARY}\0".encode() in text]
    assert len(given) == 1
    assert not [text for text in environments if b"CREDENTIALS_DIRECTORY" in text]
    (path,) = [
        word.partition(b"=")[2].decode()
        for text in environments
        for word in text.split(b"\0")
        if word.startswith(b"SENTRY_DSN_FILE=")
    ]
    assert path.startswith("/run/supervisord-lite/w/")
    shown = installed.run("stat", "--format=%a %U", path).stdout.split()
    assert shown == ["400", "nobody"]
    assert installed.read(path) == f"{CANARY}\n"
    assert installed.run("findmnt", "-no", "FSTYPE", "--target", path).stdout.strip() == "tmpfs"
    assert CANARY not in installed.journal(UNIT)
    done = installed.run("grep", "-r", CANARY, "/var/lib/supervisord-lite", check=False)
    assert done.returncode == 1

    installed.systemctl("stop", UNIT)
    wait_until(
        lambda: installed.run("test", "-e", path, check=False).returncode == 1,
        what="the file is gone",
    )


def test_a_credential_that_the_unit_does_not_load_is_told(installed: Machine) -> None:
    """With the line that is missing there; the service runs, and that worker's breaker is open."""
    installed.write(CONFIG, WORKERS)
    installed.systemctl("start", UNIT)

    told = "LoadCredential=sentry_dsn:PATH"
    assert told in installed.journal(UNIT)
    wait_until(
        lambda: "tripped" in installed.run("supervisord-lite", "status", "--socket", SOCKET).stdout,
        what="the breaker is open",
    )
    why = installed.run("supervisord-lite", "why", "variable", "--socket", SOCKET).stdout
    assert told in " ".join(why.split())
