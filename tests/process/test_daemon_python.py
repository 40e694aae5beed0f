"""Workers that are Python targets: how they begin, what they are given, how they end."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.daemon import CHECKOUT, Daemon
from tests.support.leftovers import is_alive
from tests.support.python_targets import MODULE
from tests.support.sockets import free_port
from tests.support.wait import wait_until

pytestmark = pytest.mark.process


def worker(target: str, keys: str = "", *, name: str = "web") -> str:
    """Return the table of a worker whose target is one of tests/support/python_targets.py."""
    words = target if ":" in target else f"{MODULE}:{target}"
    return f'[worker.{name}]\npython = "{words}"\ndirectory = "{CHECKOUT}"\n{keys}\n'


def ended(daemon: Daemon, name: str = "web") -> dict[str, object]:
    """Return the latest end of a worker that is down."""
    last: dict[str, object] = daemon.wait_state(name, "exited", "backoff", "tripped")["last_exit"]
    return last


def test_a_target_gets_what_the_file_says() -> None:
    """Numbers, lists and tables as they are, for this instance, from its folder."""
    keys = (
        'pool_size = 2\nconfig.port = "%{8000..}"\nconfig.deep = [1, { a = 1.5 }]\n'
        "config.on = true\nenvironment.PYTHONPATH = false\n"
    )
    with Daemon(worker("tell_all", keys)) as daemon:
        daemon.wait_state("web-2", "running")
        wait_until(lambda: "pytest" in daemon.log("web-2"), what="its lines are in the log")
        lines = daemon.log("web-2").splitlines()
        assert lines[0] == "config {'port': '8001', 'deep': [1, {'a': 1.5}], 'on': True}"
        assert lines[1:3] == [f"path {CHECKOUT}", f"argv ['{MODULE}:tell_all']"]
        assert lines[4:7] == ["pythonpath None", "notify None", "who web-2 web 2"]


def test_arguments_are_to_be_seen_nowhere() -> None:
    """Not in `ps`, not in the environment, not in what the daemon prints."""
    with Daemon(worker("say", 'config.words = "hunter2"')) as daemon:
        pid = daemon.wait_state("web", "running")["pid"]
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        assert words[-3:] == [b"web", f"{MODULE}:say".encode(), b""]
        assert b"hunter2" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert "hunter2" not in daemon.output()
        # A line of it is in the log as soon as it is printed.
        wait_until(lambda: daemon.log("web") == "hunter2\n", what="it has said so")


def test_every_kind_of_target_runs_and_stops() -> None:
    """Functions and classes, of one thread, of several, of an event loop."""
    tables = [
        worker("wait", name="function"),
        worker("Orders", 'config.source = "memory:"\nconfig.rates = [0.5, 2]', name="dataclass"),
        worker("awaits", name="coroutine"),
        worker("Threads", 'config.then = "wait"', name="threads"),
    ]
    with Daemon("".join(tables)) as daemon:
        for name in ("function", "dataclass", "coroutine", "threads"):
            daemon.wait_state(name, "running")
        wait_until(lambda: "dataclass memory: 20 [0.5, 2]" in daemon.log("dataclass"), what="it")
        wait_until(lambda: daemon.workers()["dataclass"]["note"] == "31 of 20", what="progress")
        daemon.ctl("stop", "all", check=True)
        codes = {name: each["last_exit"]["code"] for name, each in daemon.workers().items()}
        assert codes == {"function": 0, "dataclass": 0, "coroutine": 143, "threads": 0}
        assert "cleaned up" in daemon.log("coroutine")


@pytest.mark.parametrize(
    ("target", "config", "code", "reason"),
    [
        ("end", "config.code = 7", 7, "exit 7"),
        ("end", 'config.code = "no more work"', 1, "exit 1"),
        ("end", 'config.how = "interrupt"', 130, "exit 130"),
        ("end", 'config = { how = "at once", code = 9 }', 9, "exit 9"),
        ("crash", "", 1, "exit 1: ValueError: no luck today"),
        ("awaits", 'config.then = "raise"', 1, "exit 1: LookupError: nothing to await"),
        ("Threads", 'config.then = "raise"', 1, "exit 1: OSError: the mine is closed"),
        ("Threads", 'config.then = "nothing"', 0, "exit 0"),
        ("end", 'config.how = "returns"', 0, "exit 0"),
    ],
)
def test_an_end_is_told_in_its_own_words(target: str, config: str, code: int, reason: str) -> None:
    """By whatever way: also a thread that dies ends the process, and so does the last one."""
    with Daemon(worker(target, f'{config}\nrestart = "never"')) as daemon:
        last = ended(daemon)
        assert (last["code"], last["reason"]) == (code, reason)


def test_a_crash_stands_in_the_log_in_why_and_in_the_events() -> None:
    """With its traceback, from where the target's own code begins."""
    with Daemon(worker("crash", 'restart = "never"')) as daemon:
        ended(daemon)
        wait_until(lambda: "ValueError: no luck today\n" in daemon.log("web"), what="the log")
        assert daemon.log("web").startswith("Traceback (most recent call last):\n")
        assert "supervisord_lite/worker" not in daemon.log("web")
        story = daemon.ctl("why", "web", check=True).stdout
        assert "exit 1: ValueError: no luck today" in story
        assert "raise ValueError(text)" in story
        told = daemon.ctl("events", "--json", check=True).stdout
        (event,) = [
            line for line in map(json.loads, told.splitlines()) if line["event"] == "worker.crashed"
        ]
        assert event["reason"] == "ValueError: no luck today"
        assert event["traceback"] == daemon.log("web")
        assert "Traceback" not in daemon.ctl("events", check=True).stdout


def test_a_crash_is_told_whatever_was_said_just_before() -> None:
    """Also with more words than are read in one turn."""
    lines = "from supervisord_lite.worker import context\n" + "def chat():\n"
    lines += "    for n in range(5000):\n        context._voice.insist(f'STATUS={n}')\n"
    lines += "    raise ValueError('that was it')\n"
    keys = 'restart = "never"\n[defaults]\ndirectory = "@DIR@"\n'
    daemon = Daemon('[worker.web]\npython = "chatter:chat"\n' + keys)
    (daemon.folder / "chatter.py").write_text(lines)
    with daemon:
        assert ended(daemon)["reason"] == "exit 1: ValueError: that was it"


def test_what_a_crashed_target_left_is_gone_before_the_next_start() -> None:
    """Its reason is not lost over that."""
    keys = 'config.text = "gone"\nbackoff.min = "50ms"\nmax_restarts = 2'
    with Daemon(worker("crash_and_leave_a_child", keys)) as daemon:
        last = daemon.wait_state("web", "tripped")["last_exit"]
        assert last["reason"] == "exit 1: ValueError: gone"


#: Whoever looks on sees it wait.
LATER = 'backoff.min = "1m"'


@pytest.mark.parametrize(
    ("target", "keys", "state", "reason"),
    [
        ("Orders", "config.bach = 1\nconfig.source = 'x'", "tripped",
         r'.*unexpected keyword argument .bach.; did you mean "batch"\? fields: source, batch'),
        ("say", "", "tripped", r".*missing a required .*'words'; config.words = .*"),
        ("nothing", LATER, "backoff", r'target ".*:nothing": .* has no "nothing"'),
        ("tests.support.nowhere:x", LATER, "backoff", "ModuleNotFoundError: No module named .*"),
        ("broken:x", LATER, "backoff", r"SyntaxError: .* \(broken.py, line 1\)"),
    ],
)  # fmt: skip
def test_a_target_that_cannot_be_run_is_a_failed_set_up(
    target: str, keys: str, state: str, reason: str
) -> None:
    """Arguments that do not fit trip the breaker at once: no retry heals them."""
    table = worker(target, keys)
    if target == "broken:x":
        table = table.replace(str(CHECKOUT), "@DIR@")
    daemon = Daemon(table)
    (daemon.folder / "broken.py").write_text("def x(:\n")
    with daemon:
        last = daemon.wait_state("web", state)["last_exit"]
        assert re.match(rf"spawn failed \(target\): {reason}", last["reason"])
        assert "\nlast words" in daemon.ctl("why", "web", check=True).stdout


def test_ready_is_what_a_target_says_where_it_is_asked() -> None:
    """`ready = "notify"` waits for `context.ready()`; its status is shown."""
    with Daemon(worker("says_ready_later", 'config.file = "@DIR@/go"\nready = "notify"')) as daemon:
        wait_until(lambda: daemon.workers()["web"]["pid"], what="it lives")
        assert daemon.workers()["web"]["state"] == "starting"
        (daemon.folder / "go").touch()
        daemon.wait_state("web", "running")
        wait_until(lambda: daemon.workers()["web"]["note"] == "open", what="its word")


def test_a_target_that_gives_no_sign_of_life_is_ended() -> None:
    """`context.heartbeat()` counts, and `context.loop` gives them by itself."""
    tables = worker("hangs", 'config.beats = 4\nheartbeat_timeout = "300ms"\nrestart = "never"\n'
                    'stop_timeout = "100ms"')  # fmt: skip
    tables += worker("Orders", 'config.source = ""\nheartbeat_timeout = "300ms"', name="orders")
    with Daemon(tables) as daemon:
        assert ended(daemon)["reason"] == "no heartbeat for 0.3s"
        assert daemon.workers()["orders"]["state"] == "running"
        assert daemon.workers()["orders"]["last_exit"] is None


def test_a_target_may_take_its_time_to_stop() -> None:
    """It knows how much is left, and says how far it is."""
    with Daemon(worker("finishes", "config.total = 50")) as daemon:
        daemon.wait_state("web", "running")
        daemon.ctl("stop", "web", "--no-wait", check=True)
        wait_until(lambda: daemon.workers()["web"]["note"] == "1 of 50", what="progress")
        daemon.wait_state("web", "stopped")
        assert daemon.log("web") == "left True\n"


def test_a_target_finds_its_sockets_by_name() -> None:
    """As sockets, listening already."""
    port = free_port()
    keys = f'pool_size = 2\nsockets.http = "127.0.0.1:{port}"'
    with Daemon(worker("listens", keys)) as daemon:
        daemon.wait_state("web-1", "running")
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            assert connection.recv(100) in (b"web-1", b"web-2")


def test_a_killed_supervisor_costs_no_words() -> None:
    """The worker lives on, and a crash that nobody has heard of yet is told to the next one."""
    with Daemon(
        worker("wait") + worker("crash", 'backoff.min = "5m"\nmax_restarts = 9', name="bad")
    ) as daemon:
        pid = daemon.wait_state("web", "running")["pid"]
        daemon.wait_state("bad", "backoff")
        for _ in range(3):
            daemon.kill_supervisor()
            daemon.ctl("start", "bad", "--no-wait")
        wait_until(
            lambda: (
                daemon.workers()["bad"]["state"] == "backoff"
                and daemon.workers()["bad"]["failures_in_window"] >= 2
            ),
            what="it has crashed again",
        )
        reason = daemon.workers()["bad"]["last_exit"]["reason"]
        assert reason == "exit 1: ValueError: no luck today"
        assert daemon.wait_state("web", "running")["pid"] == pid


def test_a_reload_touches_only_whom_a_changed_argument_is_for() -> None:
    """Key by key, and with a new process."""
    with Daemon(worker("say", 'config.words = "one"') + worker("wait", name="other")) as daemon:
        pids = {n: daemon.wait_state(n, "running")["pid"] for n in ("web", "other")}
        daemon.write(worker("say", 'config.words = "two"') + worker("wait", name="other"))
        planned = daemon.ctl("reload", "--dry-run", check=True).stdout
        assert 'config.words "one" -> "two"' in re.sub(r"\s+", " ", planned)
        daemon.ctl("reload", check=True)
        assert daemon.wait_state("other", "running")["pid"] == pids["other"]
        assert daemon.wait_state("web", "running")["pid"] != pids["web"]
        wait_until(lambda: daemon.log("web") == "one\ntwo\n", what="both have spoken")


def bare_environment(folder: Path) -> Path:
    """Make a virtual environment with nothing in it; return its interpreter."""
    command = [sys.executable, "-m", "venv", "--without-pip", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "bin/python"


def test_another_environment_needs_nothing_installed(tmp_path: Path) -> None:
    """Its libraries are its own: those of the daemon cannot be imported, PYTHONPATH stays."""
    python = bare_environment(tmp_path / "venv")
    (tmp_path / "targets.py").write_text((CHECKOUT / "tests/support/python_targets.py").read_text())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    keys = f'interpreter = "{python}"\nenvironment.PYTHONPATH = "{elsewhere}"'
    table = worker("targets:tell_all", keys).replace(str(CHECKOUT), str(tmp_path))
    tmp_path.chmod(0o755)
    with Daemon(table) as daemon:
        daemon.wait_state("web", "running")
        wait_until(lambda: "pytest" in daemon.log("web"), what="its lines are in the log")
        lines = daemon.log("web").splitlines()
        assert lines[1] == f"path {tmp_path}"
        assert lines[3].endswith(str(tmp_path / "venv"))
        assert lines[4] == f"pythonpath '{elsewhere}'"
        assert lines[-2:] == ["no tomli_w", "no pytest"]


def other_versions() -> list[str]:
    """Return interpreters of other minor versions that stand on this machine."""
    folders = [Path("/usr/bin"), Path("/usr/local/bin"), Path.home() / ".local/bin"]
    folders += sorted((Path.home() / ".local/share/uv/python").glob("*/bin"))
    # pyenv and its like: one folder for each version.
    folders += sorted(Path(sys.base_prefix).parent.glob("3.*/bin"))
    ours = f"3.{sys.version_info[1]}"
    found = {}
    for folder in folders:
        for path in folder.glob("python3.*"):
            version = path.name.removeprefix("python")
            if re.fullmatch(r"3\.\d+", version) and version != ours and os.access(path, os.X_OK):
                found[version] = str(path)
    return [found[version] for version in found if int(version[2:]) >= 9]


def test_another_version_of_python_runs_the_same_targets(tmp_path: Path) -> None:
    """The child side runs on 3.9 and later: on whatever stands here, or on this one again."""
    versions = other_versions() or [f"{sys.base_prefix}/bin/python3.{sys.version_info[1]}"]
    (tmp_path / "targets.py").write_text((CHECKOUT / "tests/support/python_targets.py").read_text())
    tmp_path.chmod(0o755)
    tables = [
        worker("targets:tell_all", f'interpreter = "{path}"', name=f"v{number}")
        for number, path in enumerate(versions)
    ]
    with Daemon("".join(tables).replace(str(CHECKOUT), str(tmp_path))) as daemon:
        for number, path in enumerate(versions):
            daemon.wait_state(f"v{number}", "running")
            version = path.rpartition("python")[2]
            log = f"v{number}"
            wait_until(lambda log=log: "pytest" in daemon.log(log), what="its lines")  # type: ignore[misc]
            assert f"version {version} " in daemon.log(log)


def test_an_interpreter_that_is_missing_is_waited_for(tmp_path: Path) -> None:
    """As any program: a deployment heals it."""
    with Daemon(worker("wait", f'interpreter = "{tmp_path}/bin/python"')) as daemon:
        last = daemon.wait_state("web", "backoff")["last_exit"]
        assert last["reason"] == f"spawn failed (exec): no such file: {tmp_path}/bin/python"
        assert not is_alive(daemon.workers()["web"]["pid"] or 2**22)
