"""The default place of the control socket, where somebody else was first."""

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Imported before the fork: the other user may not be able to read this checkout.
import supervisord_lite.cli.status  # noqa: F401
from supervisord_lite.cli import main
from supervisord_lite.config.defaults import control_path_in, default_folders
from tests.support.control import FakeDaemon, a_worker

pytestmark = [
    pytest.mark.process,
    pytest.mark.root,
    pytest.mark.skipif(os.getuid() != 0, reason="needs root: to ask as another user"),
]
#: Users that no box has: the place of theirs below /tmp is free.
VICTIM_UID, OTHER_UID = 1_900_000_000 + os.getpid(), 1_800_000_000


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield the victim's runtime folder, which belongs to somebody else."""
    made = Path(default_folders({"HOME": "/nowhere"}, uid=VICTIM_UID).runtime_dir)
    (made / "control").mkdir(parents=True)
    os.chown(made, OTHER_UID, OTHER_UID)
    os.chown(made / "control", OTHER_UID, OTHER_UID)
    yield made
    shutil.rmtree(made)


def as_victim(tmp_path: Path, *words: str) -> tuple[int, str]:
    """Run the command as the victim; return exit status and output."""
    with (tmp_path / "said").open("w") as said:
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                sys.stdout = sys.stderr = said
                os.environ.clear()
                os.setgroups([])
                os.setgid(VICTIM_UID)
                os.setuid(VICTIM_UID)
                code = main(words)
                said.flush()
            finally:
                os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, " ".join((tmp_path / "said").read_text().split())


def test_a_socket_that_somebody_else_put_into_our_place_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    """What /tmp/supervisord-lite-UID holds is trusted only when it is our own, or root's."""
    with FakeDaemon([a_worker("web")]) as daemon:
        path = Path(control_path_in(str(folder)))
        os.link(daemon.path, path)
        path.chmod(0o666)
        code, said = as_victim(tmp_path, "status")
        assert (code, daemon.asked) == (3, [])
        assert f"no daemon of yours answers at {path}" in said
        assert f"{folder} belongs to uid {OTHER_UID}, and" in said
        assert f"--socket {path}" in said

        assert as_victim(tmp_path, "status", "--socket", str(path))[0] == 0, "it was named"
        os.chown(folder, VICTIM_UID, VICTIM_UID)
        assert as_victim(tmp_path, "status")[0] == 0


def test_a_folder_that_is_closed_to_us_is_not_ours_either(folder: Path, tmp_path: Path) -> None:
    """It is told whose it is, not only that it is closed."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(control_path_in(str(folder)))
        listener.listen()
        folder.chmod(0o700)
        code, said = as_victim(tmp_path, "status")
    assert code == 3
    assert f"belongs to uid {OTHER_UID}" in said
