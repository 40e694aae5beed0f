"""`reload`, `scale` and what `status` says of the file, against made-up answers."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import supervisord_lite
from supervisord_lite.config.digests import digest_of
from supervisord_lite.control.calls import Call
from supervisord_lite.control.interface import METHOD_NOT_FOUND
from tests.support.control import MANAGER, FakeDaemon, a_worker

pytestmark = pytest.mark.process
CHECKOUT = Path(supervisord_lite.__file__).parents[1]
COMMAND = (
    sys.executable,
    "-c",
    "import sys; from supervisord_lite.cli import main; sys.exit(main())",
)
PROBLEM = {"file": "x.toml", "line": 1, "column": 1, "message": "no", "hint": "", "source": "x",
           "length": 1}  # fmt: skip


def sdl(daemon: FakeDaemon, *words: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SUPERVISORD_", "XDG_"))}
    more = {"PYTHONPATH": str(CHECKOUT), "SUPERVISORD_LITE_SOCKET": daemon.path, "TZ": "UTC"}
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=30, check=False,
        env=clean | more,
    )  # fmt: skip


def a_plan(**changed: Any) -> dict[str, Any]:
    return {
        "changed": False, "generation": 2, "added": [], "modified": [], "removed": [],
        "kept": ["web"], "daemon": [], "started": 0, "restarted": 0, "stopped": 0, "left_alone": 1,
        "warnings": "",
    } | changed  # fmt: skip


def test_a_refused_file_is_told_as_check_tells_it() -> None:
    """Editors read the beginning of a line; scripts read the exit code."""
    message = "x.toml:1:1: error: no\x1b\n1 error in 1 file."
    answer = {"message": message, "problems": [PROBLEM], "in_force_since": "2001-02-03T04:05:06Z"}
    with FakeDaemon() as daemon:
        daemon.answers["Reload"] = lambda call: call.error(
            f"{MANAGER}.ConfigurationRefused", answer
        )
        told = sdl(daemon, "reload")
        assert (told.returncode, told.stdout) == (1, "")
        assert told.stderr.splitlines() == [
            "x.toml:1:1: error: no\\x1b",
            (
                "1 error in 1 file. The configuration of 2001-02-03 04:05 stays in force; "
                "nothing was touched."
            ),
        ]
        told = sdl(daemon, "reload", "--json")
        assert told.returncode == 1
        assert json.loads(told.stdout)["errors"] == [PROBLEM]


@pytest.mark.parametrize(
    ("words", "changed", "status"),
    [
        (("--dry-run", "--exit-code"), True, 1),
        (("--dry-run", "--exit-code"), False, 0),
        (("--dry-run",), True, 0),
        (("--exit-code",), True, 0),
    ],
)
def test_the_exit_code_says_whether_something_would_change(
    words: tuple[str, ...], changed: bool, status: int
) -> None:
    """As git diff has it, and only where nothing was changed."""
    with FakeDaemon() as daemon:
        daemon.answers["Reload"] = lambda call: call.reply(a_plan(changed=changed))
        told = sdl(daemon, "reload", "--json", *words)
        assert told.returncode == status
        assert json.loads(told.stdout)["changed"] is changed
        assert daemon.asked[-1] == ("Reload", {"dry_run": "--dry-run" in words})


def test_warnings_do_not_mix_with_the_plan() -> None:
    """They go where errors go."""
    with FakeDaemon() as daemon:
        daemon.answers["Reload"] = lambda call: call.reply(a_plan(warnings="x.toml:1:1: warning"))
        told = sdl(daemon, "reload")
        assert told.stdout == "= 1 worker unchanged\n\nNothing has changed.\n"
        assert told.stderr == "x.toml:1:1: warning\n"


def test_status_says_when_the_disk_is_not_what_is_in_force(tmp_path: Path) -> None:
    """Refused, changed or gone; and nothing where all is well, or nobody may look."""
    path = tmp_path / "x.toml"
    path.write_text("a = 1\n")
    with FakeDaemon([a_worker("web")]) as daemon:
        daemon.supervisor["config_files"] = {str(path): digest_of(b"a = 1\n")}
        assert "! the file on disk" not in sdl(daemon, "status").stdout
        path.write_text("a = 2\n")
        assert "differs from what is in force" in " ".join(sdl(daemon, "status").stdout.split())
        path.unlink()
        assert "differs" in sdl(daemon, "status").stdout
        errors = {"count": 2, "first": "x.toml:1: no", "at": "2001-02-03T04:05:06Z"}
        daemon.supervisor["config_errors"] = errors
        assert (
            "! the file on disk has 2 errors since 2001-02-03 04:05 (reload refused): "
            "supervisord-lite check"
        ) in " ".join(sdl(daemon, "status").stdout.split())
        shown = json.loads(sdl(daemon, "status", "--json").stdout)["supervisor"]
        assert shown["config_errors"] == errors


def test_a_refused_file_is_not_as_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Monitoring hears of it, unless it asks for some workers; the file to check is named."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    errors = {"count": 1, "first": "x.toml:1: no", "at": "2001-02-03T04:05:06Z"}
    line = "! the file on disk has 1 error since 2001-02-03 04:05 (reload refused): "
    with FakeDaemon([a_worker("web")]) as daemon:
        assert sdl(daemon, "status", "--check").returncode == 0
        daemon.supervisor |= {"config_errors": errors, "config": "/srv/my shop/x.toml"}
        told = sdl(daemon, "status", "--check")
        check = "supervisord-lite check -c '/srv/my shop/x.toml'\n"
        assert (told.returncode, " ".join(told.stdout.split("\n  "))) == (1, line + check)
        assert told.stdout in sdl(daemon, "status").stdout
        assert sdl(daemon, "status", "--check", "--json").returncode == 1
        told = sdl(daemon, "status", "--check", "web")
        assert (told.returncode, told.stdout) == (0, "")


@pytest.mark.parametrize("verb", [("scale",), ("start",), ("restart",)])
def test_a_worker_that_is_switched_off_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    """The daemon does not know it; the file does."""
    path = tmp_path / "x.toml"
    path.write_text("[worker.q]\ncommand = 'x'\nenabled = false\n[worker.later]\ncommand = 'x'\n")
    with FakeDaemon([a_worker("a")]) as daemon:
        daemon.supervisor["config"] = str(path)

        def nobody(call: Call) -> None:
            names = call.parameters.get("names") or call.parameters.get("sizes")
            assert isinstance(names, list | dict)
            told = {"name": next(iter(names)), "suggestion": "a"}
            call.error(f"{MANAGER}.NoSuchWorker", told)

        def status(call: Call) -> None:
            if call.parameters.get("names"):
                nobody(call)
            else:
                call.reply({"supervisor": daemon.supervisor})

        daemon.answers |= {"Status": status, "Scale": nobody}

        def said(name: str) -> str:
            size = "=2" if verb == ("scale",) else ""
            told = sdl(daemon, *verb, f"{name}{size}")
            assert (told.returncode, told.stdout) == (4, "")
            return " ".join(told.stderr.split())

        assert f"q: is switched off: enabled = false in {path}:3 enabled = true, then" in said("q")
        assert f"later: stands in {path}:4, which is not in force supervisord-lite reload" in (
            said("later")
        )
        assert "other: no such worker; did you mean a?" in said("other")
        path.write_text("[")
        assert "q: no such worker; did you mean a?" in said("q")
        # Of what is called None in the current folder it knows as little.
        (tmp_path / "None").write_text("[worker.q]\ncommand = 'x'\nenabled = false\n")
        monkeypatch.chdir(tmp_path)
        daemon.supervisor["config"] = None
        assert "q: no such worker; did you mean a?" in said("q")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("web",), '"web" is not NAME=N'),
        (("web=", "db=2"), '"web=" is not NAME=N'),
        (("web=-1",), '"web=-1" is not NAME=N'),
        (("web=1", "web=2"), "web cannot have 1 and 2 instances"),
    ],
)
def test_sizes_that_are_none_are_wrong_usage(words: tuple[str, ...], why: str) -> None:
    """Nothing is asked of the daemon then."""
    with FakeDaemon() as daemon:
        told = sdl(daemon, "scale", *words)
        assert told.returncode == 2
        assert why in told.stderr
        assert daemon.asked == []


def test_a_file_is_saved_only_when_the_daemon_agrees(tmp_path: Path) -> None:
    """A refused size leaves the file as it was."""
    path = tmp_path / "x.toml"
    text = "[worker.web]\ncommand = 'x'\n"
    path.write_text(text)

    def refuse(call: Call) -> None:
        told = {"name": "web=3", "reason": "web is a singleton", "hint": None}
        call.error(f"{MANAGER}.Refused", told)

    pools = [{"pool": "web", "old": 1, "new": 3, "file": 1}]
    with FakeDaemon([a_worker("web")]) as daemon:
        daemon.supervisor["config"] = str(path)
        daemon.answers["Scale"] = refuse
        told = sdl(daemon, "scale", "web=3", "--save")
        assert (told.returncode, path.read_text()) == (1, text)
        assert "web is a singleton" in told.stderr
        assert len(list(tmp_path.iterdir())) == 1
        daemon.answers["Scale"] = lambda call: call.reply({"pools": pools})
        daemon.answers["SizesSaved"] = lambda call: call.error(
            METHOD_NOT_FOUND, {"method": call.method}
        )
        told = sdl(daemon, "scale", "web=3", "--save", "--json")
        assert "pool_size = 3" in path.read_text()
        saved = [{**pools[0], "file": 3}]
        assert json.loads(told.stdout) == {"ok": True, "saved": True, "pools": saved}
        # An earlier version does not know the last word.
        assert "saved, but the daemon could not be told" in told.stderr
        before, after = digest_of(text.encode()), digest_of(path.read_bytes())
        assert daemon.asked[-1] == (
            "SizesSaved",
            {"sizes": {"web": 3}, "file": str(path), "before": before, "after": after},
        )


def scaled(call: Call) -> None:
    sizes = call.parameters["sizes"]
    assert isinstance(sizes, dict)
    pools = [{"pool": pool, "old": 1, "new": size, "file": 1} for pool, size in sizes.items()]
    call.reply({"pools": pools})


def test_ten_who_save_at_once_all_save(tmp_path: Path) -> None:
    """Each waits for the one before, and begins with what that has written."""
    path = tmp_path / "x.toml"
    pools = [f"w{number}" for number in range(10)]
    path.write_text("".join(f"[worker.{pool}]\ncommand = 'x'\n" for pool in pools))
    with FakeDaemon([a_worker(pool) for pool in pools]) as daemon:
        daemon.supervisor["config"] = str(path)
        daemon.answers["Scale"] = scaled
        daemon.answers["SizesSaved"] = lambda call: call.reply({})
        with ThreadPoolExecutor(len(pools)) as clients:
            told = list(
                clients.map(lambda pool: sdl(daemon, "scale", f"{pool}=3", "--save"), pools)
            )
    assert [(each.returncode, each.stderr) for each in told] == [(0, "")] * len(pools)
    assert path.read_text() == "".join(
        f"[worker.{pool}]\npool_size = 3\ncommand = 'x'\n" for pool in pools
    )
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("is_good", [True, False])
def test_who_edits_the_file_while_it_is_saved(tmp_path: Path, *, is_good: bool) -> None:
    """It is done again with what stands there now; or it is said that the pool is scaled."""
    path = tmp_path / "x.toml"
    path.write_text("[worker.web]\ncommand = 'x'\n")
    edited = "[worker.web]\ncommand = 'y'\n"
    edited += "" if is_good else "pool_size = '${N:-2}'\n"
    with FakeDaemon([a_worker("web")]) as daemon:
        daemon.supervisor["config"] = str(path)

        def edit(call: Call) -> None:
            path.write_text(edited)
            scaled(call)

        daemon.answers["Scale"] = edit
        daemon.answers["SizesSaved"] = lambda call: call.reply({})
        told = sdl(daemon, "scale", "web=3", "--save")
        assert [method for method, _ in daemon.asked].count("Scale") == 1
    if is_good:
        assert (told.returncode, told.stderr) == (0, "")
        assert path.read_text() == "[worker.web]\npool_size = 3\ncommand = 'y'\n"
    else:
        assert path.read_text() == edited
        assert told.returncode == 1
        said = " ".join(told.stderr.split())
        assert "is not changed: " in said
        assert "web has 3 processes now; only the file is as it was" in said
        assert "without --save" not in said
