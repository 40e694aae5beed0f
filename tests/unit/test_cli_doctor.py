"""`doctor`: each finding from the facts that mean it, with its remedy."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from supervisord_lite.base.record import replace
from supervisord_lite.cli import main
from supervisord_lite.cli.doctor_checks import (
    Finding,
    findings,
    longest_stop_s,
    looked_at,
    seconds_of,
    trip_s,
)
from supervisord_lite.cli.doctor_facts import Facts, Folder
from supervisord_lite.cli.installation import is_of_another
from supervisord_lite.config.load import judge

#: As the unit that is shipped has it.
UNIT = {
    "LoadState": "loaded", "ActiveState": "active", "Type": "notify", "NotifyAccess": "main",
    "TimeoutStopUSec": "1min 30s", "Delegate": "yes", "KillMode": "mixed",
    "OOMPolicy": "continue", "Restart": "on-failure", "RestartPreventExitStatus": "2 77 78",
    "StartLimitIntervalUSec": "1h", "StartLimitBurst": "5", "NeedDaemonReload": "no",
    "RuntimeDirectoryPreserve": "yes",
}  # fmt: skip


@pytest.fixture
def facts(tmp_path: Path) -> Any:
    """Return a maker of facts in which nothing is wrong, but for what it is given."""

    def make(text: str = '[worker.a]\ncommand = "sleep 1"\n', **changed: Any) -> Facts:
        path = tmp_path / "x.toml"
        path.write_text(text)
        judged = judge(str(path), environ=os.environ, as_root=False)
        status = {"supervisor": {"warnings": []}, "workers": []}
        good = Facts(
            config_path=str(path), judged=judged, error="", as_root=True, uid=0,
            manager="systemctl", unit_name="supervisord-lite", unit=UNIT, keeper_pid=7,
            status=status, no_answer="", descriptors=(1024, 524288), controllers=("memory",),
            has_cgroup_v2=True, makes_cgroups=True, sees_all=True,
            has_journal=True, is_clock_synchronised=True, has_timezone=True, folders=(),
        )  # fmt: skip
        return replace(good, **changed)

    return make


def the_one(found: list[Finding]) -> Finding:
    (finding,) = found
    assert finding.remedy
    return finding


def test_nothing_is_found_where_nothing_is_wrong(facts: Any) -> None:
    """Every check was made, and says nothing."""
    assert findings(facts()) == []
    assert len(looked_at(facts())) == 12


@pytest.mark.parametrize(
    ("changed", "level", "about", "text", "remedy"),
    [
        ({"judged": None, "error": "x.toml:3:1: error: no"}, "error", "configuration",
         "x.toml:3:1: error: no", "supervisord-lite check -c "),
        ({"status": None, "no_answer": "no daemon answers"}, "error", "daemon",
         "though its unit is active", "systemctl status supervisord-lite"),
        ({"unit": {**UNIT, "Delegate": "no"}}, "warning", "delegation", "marks and sessions",
         "systemctl edit supervisord-lite, below [Service]: Delegate=yes"),
        ({"has_cgroup_v2": False}, "warning", "delegation", "no cgroup v2", "unified_cgroup"),
        ({"is_clock_synchronised": False}, "note", "clock", "not synchronised", "timedatectl"),
        ({"unit": {**UNIT, "Type": "simple"}}, "error", "unit", "Type=simple", "Type=notify"),
        ({"unit": {**UNIT, "KillMode": "control-group"}}, "error", "unit", "in no order",
         "KillMode=mixed"),
        ({"unit": {**UNIT, "RestartPreventExitStatus": "2"}}, "warning", "unit", "after 77, 78,",
         "RestartPreventExitStatus=2 77 78"),
        ({"unit": {**UNIT, "NeedDaemonReload": "yes"}}, "warning", "unit", "has changed",
         "systemctl daemon-reload"),
        ({"unit": {**UNIT, "NeedDaemonReload": "yes"}, "manager": "systemctl --user"}, "warning",
         "unit", "has changed", "systemctl --user daemon-reload"),
        ({"unit": {**UNIT, "Delegate": "no"}, "manager": "systemctl --user"}, "warning",
         "delegation", "marks and sessions", "systemctl --user edit supervisord-lite, below"),
        ({"keeper_pid": 1, "unit": {}}, "note", "stop time", "may take 10s, and `docker stop`",
         "docker run --stop-timeout 20 "),
        ({"unit": {"LoadState": "not-found"}}, "note", "unit", "nothing starts the daemon",
         "supervisord-lite install-unit"),
        ({"descriptors": (64, 66)}, "error", "descriptors", "may need 67", "LimitNOFILE=1024:"),
        ({"folders": (Folder("configuration", "/x", 0o777, 0, 0, True),)}, "error", "permissions",
         "everybody may change the folder /x", "chmod go-w /x"),
        ({"folders": (Folder("configuration", "/x", 0o755, 7, 0, True),)}, "error", "permissions",
         "uid 7 may change", "chown root /x"),
        ({"folders": (Folder("configuration", "/x", 0o664, 0, 7, False),)}, "error",
         "permissions", "group 7 may change the file /x", "chmod go-w /x"),
        ({"folders": (Folder("log_dir", "/x", 0o777, 0, 0, True),)}, "warning", "permissions",
         "redirect or forge", "chmod go-w /x"),
    ],
)  # fmt: skip
def test_each_finding_has_its_remedy(
    facts: Any, changed: dict[str, Any], level: str, about: str, text: str, remedy: str
) -> None:
    """One thing is wrong, and that is said, and nothing else."""
    finding = the_one(findings(facts(**changed)))
    assert (finding.level, finding.about) == (level, about)
    assert text in finding.text
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    "folder",
    [
        Folder("configuration", "/tmp", 0o1777, 0, 0, True),
        Folder("configuration", "/x", 0o775, 0, 0, True),
        Folder("command of web", "/srv/web/run", 0o755, 33, 33, False),
        Folder("folder of log.stdout of web", "/srv/web/log", 0o755, 33, 33, True),
    ],
)
def test_what_nobody_else_may_change_is_no_finding(facts: Any, folder: Folder) -> None:
    """A sticky folder of root's, root's group, and what belongs to a worker's user."""
    assert findings(facts(folders=(folder,))) == []


def test_a_stop_that_takes_longer_than_systemd_waits(facts: Any) -> None:
    """The chain of pools counts; where systemd is asked for more it is only to be known."""
    text = (
        '[worker.a]\ncommand = "sleep 1"\nstop_timeout = "60s"\n'
        '[worker.b]\ncommand = "sleep 1"\nrequires = ["a"]\nstop_timeout = ["1m", "1m"]\n'
        'stop_signal = ["SIGTERM", "SIGQUIT"]\n'
    )
    made = facts(text)
    assert longest_stop_s(made.judged.configuration) == 180
    finding = the_one(findings(made))
    assert finding.level == "note"
    assert "may take 3m" in finding.text
    assert "TimeoutStopSec=190s" in finding.remedy
    plain = {**UNIT, "NotifyAccess": "none"}
    assert the_one(findings(facts(text, unit=plain))).level == "error"
    assert findings(facts(text, unit={**UNIT, "TimeoutStopUSec": "infinity"})) == []


def test_a_critical_worker_that_trips_too_slowly_for_systemd(facts: Any) -> None:
    """Then the unit never fails, and nobody is told."""
    text = (
        '[worker.a]\ncommand = "x"\ncritical = true\nbackoff.min = "5m"\nbackoff.jitter = false\n'
        'circuit_window = "2h"\n'
    )
    made = facts(text)
    assert trip_s(made.judged.configuration.specs[0]) == 1200
    finding = the_one(findings(made))
    assert (finding.level, finding.about) == ("warning", "start limit")
    assert "StartLimitIntervalSec=121min" in finding.remedy
    assert findings(facts(text.replace('"5m"', '"1s"'))) == []


def test_workers_of_others_that_the_daemon_may_not_look_at(facts: Any) -> None:
    """As in most containers: no cgroups, and root without the right to read their environment."""
    made = facts()
    text = '[worker.a]\ncommand = "x"\nuser = "nobody"\n[worker.b]\ncommand = "x"\n'
    Path(made.config_path).write_text(text)
    judged = judge(made.config_path, environ=os.environ, as_root=True)
    blind = replace(made, judged=judged, makes_cgroups=False, sees_all=False)
    finding = the_one(findings(blind))
    assert (finding.level, finding.about) == ("warning", "trees")
    assert finding.text.startswith("a runs as somebody else")
    assert "--cap-add SYS_PTRACE" in finding.remedy
    assert findings(replace(blind, makes_cgroups=True)) == []
    assert findings(replace(blind, sees_all=True)) == []


def test_a_container_has_the_cgroups_that_it_was_given(facts: Any) -> None:
    """Nobody can boot it otherwise; whose trees that concerns is told by another check."""
    quick = '[worker.a]\ncommand = "x"\nstop_timeout = "1s"\n'
    assert findings(facts(quick, keeper_pid=1, unit={}, has_cgroup_v2=False)) == []


def test_a_unit_that_starts_another_installation_than_runs(facts: Any) -> None:
    """An upgrade to a place of its own holds until the unit is started again."""
    starts = {"unit": "shop.service", "command": "/opt/old/bin/supervisord-lite"}
    finding = the_one(findings(facts(unit_starts=starts)))
    assert (finding.level, finding.about) == ("warning", "unit")
    assert "shop.service starts /opt/old/bin/supervisord-lite" in finding.text


@pytest.mark.parametrize(
    ("script", "is_other"),
    [
        ("#!/opt/old/bin/python3\n", True),
        ("#!/opt/new/bin/python\n", False),
        ("#!/bin/sh\nexec /opt/new/bin/supervisord-lite\n", False),
        ("\x7fELF", False),
    ],
)
def test_installations_are_told_apart_by_their_python(
    tmp_path: Path, script: str, *, is_other: bool
) -> None:
    """Of what is no script of a Python nobody can tell."""
    command = tmp_path / "supervisord-lite"
    command.write_text(script)
    assert is_of_another(str(command), "/opt/new/bin/python") == is_other
    assert is_of_another("/opt/old/bin/python", "/opt/new/bin/python")


def test_schedules_go_by_the_clock(facts: Any) -> None:
    """So a clock that is wrong hurts them, and a box without a time zone those that name none."""
    job = '[worker.a]\ncommand = "x"\nschedule = "@daily"\n'
    assert the_one(findings(facts(job, is_clock_synchronised=False))).level == "warning"
    finding = the_one(findings(facts(job, has_timezone=False)))
    assert finding.text.startswith("a has a schedule, and the box has no time zone")
    named = f'{job}schedule.timezone = "UTC"\n'.replace("schedule =", "schedule.cron =")
    assert findings(facts(named, has_timezone=False)) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: what it runs is an error")
def test_the_programs_of_all_kinds_of_workers_are_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that anybody may replace, and so an interpreter; one in PATH is nobody's file."""
    program = tmp_path / "program"
    program.write_text("")
    program.chmod(0o777)
    config = tmp_path / "x.toml"
    place = ["-c", str(config), "--socket", str(tmp_path / "none"), "--json"]
    for key in ("command", "interpreter"):
        python = 'python = "m:T"\n' if key == "interpreter" else ""
        config.write_text(f'[worker.a]\n{python}{key} = "{program}"\n')
        assert main(["doctor", *place]) == 1
        found = json.loads(capsys.readouterr().out)["findings"]
        assert [each["text"] for each in found if f"({key} of a)" in each["text"]] == [
            f"everybody may change the file {program} ({key} of a), and so what root runs"
        ]
    config.write_text('[worker.a]\npython = "m:T"\ninterpreter = "python3"\n')
    main(["doctor", *place])
    assert " of a)" not in capsys.readouterr().out


def test_limits_that_nobody_enforces(facts: Any) -> None:
    """Told once, with the first names."""
    worker = {"limits": ["memory 1G NOT ENFORCED: no memory controller here"]}
    workers = [{**worker, "name": f"web-{n}"} for n in range(1, 6)]
    made = facts(status={"supervisor": {"warnings": []}, "workers": workers})
    finding = the_one(findings(made))
    assert finding.text.startswith("limits of web-1, web-2, web-3 and 2 more: memory 1G NOT")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1min 30s", 90), ("1h", 3600), ("500ms", 0.5), ("infinity", None), ("", None), ("x", None),
     ("2d 1h 5us", 176400.000005)],
)  # fmt: skip
def test_time_spans_as_systemctl_shows_them(text: str, seconds: float | None) -> None:
    """Infinity, and what is none, is no number."""
    assert seconds_of(text) == seconds
