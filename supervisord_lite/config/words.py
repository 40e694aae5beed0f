"""Did you mean: near misses, and the words of supervisord, systemd, circus, pm2 and compose."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from supervisord_lite.base.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUPERVISORD = {
    "numprocs": "pool_size = {value}",
    "numprocs_start": "%{{{value}..}} in the text that needs the number",
    "process_name": "the name in [worker.NAME]; instances are NAME-1, NAME-2",
    "startsecs": "ready = {seconds}",
    "startretries": "max_restarts = {value}",
    "autorestart": "restart = {restart}",
    "exitcodes": "ok_exit_codes = [0]",
    "stopsignal": "stop_signal = {signal}",
    "stopwaitsecs": "stop_timeout = {seconds}",
    "stopasgroup": 'stop_scope = "tree"',
    "killasgroup": "not needed: what is left of the tree is always killed at the end",
    "redirect_stderr": "not needed: stderr goes where stdout goes unless log.stderr is set",
    "stdout_logfile": "log.stdout = {value}",
    "stderr_logfile": "log.stderr = {value}",
    "logfile": "log.stdout = {value}",
    "stdout_logfile_maxbytes": "log.max_size = {value}",
    "stderr_logfile_maxbytes": "log.max_size = {value}",
    "stdout_logfile_backups": "log.backups = {value}",
    "stderr_logfile_backups": "log.backups = {value}",
    "stdout_syslog": 'log.stdout = "journal"',
    "stderr_syslog": 'log.stderr = "journal"',
    "stdout_capture_maxbytes": "not needed: a worker talks over its notify socket",
    "stderr_capture_maxbytes": "not needed: a worker talks over its notify socket",
    "stdout_events_enabled": "events on the worker that wants to hear of them",
    "stderr_events_enabled": "events on the worker that wants to hear of them",
    "serverurl": "not needed: SUPERVISORD_LITE_SOCKET is set for every worker",
    "priority": 'requires or after: after = ["NAME"]',
    "programs": "a common prefix of names: 'media-*' means them all",
}
_SYSTEMD = {
    "execstart": "command = {value}",
    "restartsec": "backoff.min = {seconds}",
    "timeoutstopsec": "stop_timeout = {seconds}",
    "timeoutstartsec": "start_timeout = {seconds}",
    "timeoutsec": "start_timeout and stop_timeout = {seconds}",
    "runtimemaxsec": "run_timeout = {seconds}",
    "restartmaxdelaysec": "backoff.max = {seconds}",
    "watchdogsec": "heartbeat_timeout = {seconds}",
    "type": 'ready = "1s" (simple), "exit" (oneshot) or "notify"',
    "execstartpre": 'a worker of its own with ready = "exit", named in requires',
    "execstop": "stop_signal",
    "wants": "after = [{value}]",
    "bindsto": "requires = [{value}]",
    "before": "after = […] on the other worker",
    "wantedby": "autostart = true",
    "description": "a comment: # …",
    "rootdirectory": "container",
    "ambientcapabilities": "capabilities",
    "capabilityboundingset": "capabilities",
    "nonewprivileges": "no_new_privs = {value}",
    "loadcredential": 'secrets.NAME = "credential:NAME"',
    "killsignal": "stop_signal = {signal}",
    "killmode": 'stop_scope = "leader" or "tree"',
    "workingdirectory": "directory = {value}",
    "environmentfile": "environment_file = {value}",
    "successexitstatus": "ok_exit_codes = [0]",
    "startlimitburst": "max_restarts = {value}",
    "startlimitinterval": "circuit_window = {seconds}",
    "startlimitintervalsec": "circuit_window = {seconds}",
    "standardoutput": "log.stdout = {value}",
    "standarderror": "log.stderr = {value}",
    "memorymax": "limits.memory = {value}",
    "memorylimit": "limits.memory = {value}",
    "cpuquota": "limits.cpu = 1.5 (150 % of one)",
    "tasksmax": "limits.pids = {value}",
    "limitnofile": "limits.nofile = {value}",
    "limitnproc": "limits.nproc = {value}",
    "limitcore": "limits.core = {value}",
    "limitmemlock": "limits.memlock = {value}",
    "limitstack": "limits.stack = {value}",
    "limitas": "limits.as = {value}",
    "limitfsize": "limits.fsize = {value}",
    "limitdata": "limits.data = {value}",
    "limitrss": "limits.rss = {value}",
}
_CIRCUS = {
    "cmd": "command = {value}",
    "args": "a part of command",
    "numprocesses": "pool_size = {value}",
    "graceful_timeout": "stop_timeout = {seconds}",
    "working_dir": "directory = {value}",
    "uid": "user = {value}",
    "gid": "group = {value}",
    "max_retry": "max_restarts = {value}",
    "respawn": "restart = {restart}",
    "stop_children": 'stop_scope = "tree"',
    "copy_env": "not needed: the environment is always inherited",
    "rlimit_nofile": "limits.nofile = {value}",
    "shell": 'command = ["sh", "-c", "…"]',
    "max_age": "recycle.age = {seconds}",
    "warmup_delay": "ready = {seconds}: the next one of a roll waits for it",
    "use_sockets": "sockets.NAME = …",
    "virtualenv": "the path of its interpreter in command",
    "stdout_stream": "log.stdout",
    "stderr_stream": "log.stderr",
    "send_hup": "the verb: signal HUP NAME",
}
_PM2 = {
    "script": "command = {value}",
    "instances": "pool_size = {value}",
    "cwd": "directory = {value}",
    "kill_timeout": "stop_timeout = {value}",
    "min_uptime": "stable_run_period = {value}",
    "restart_delay": "backoff.min = {value}",
    "out_file": "log.stdout = {value}",
    "error_file": "log.stderr = {value}",
    "max_memory_restart": "recycle.memory = {value}",
    "cron_restart": "schedule.cron = {value}",
    "wait_ready": 'ready = "notify"',
    "listen_timeout": "start_timeout = {value}",
    "exp_backoff_restart_delay": "backoff.min = {value}",
    "exec_mode": "pool_size",
    "interpreter_args": "a part of command",
    "node_args": "a part of command",
    "watch": "not a key: restart NAME after a change",
    "instance_var": "SUPERVISORD_LITE_INSTANCE; it is always set",
}
_COMPOSE = {
    "env_file": "environment_file = {value}",
    "stop_grace_period": "stop_timeout = {seconds}",
    "replicas": "pool_size = {value}",
    "mem_limit": "limits.memory = {value}",
    "cpus": "limits.cpu = {value}",
    "pids_limit": "limits.pids = {value}",
    "ulimits": "limits.nofile and others",
    "depends_on": "requires = [{value}]",
    "healthcheck": "health.exec, health.http or health.tcp",
    "entrypoint": "command = {value}",
    "image": "container.image = {value}",
    "volumes": "container.volumes",
    "cap_add": "capabilities",
    "container_name": "the name in [worker.NAME]",
    "profiles": "enabled, in a file for each environment",
}
_SYNONYMS = {
    "env": "environment.NAME = …",
    "max_failures": "max_restarts = {value}",
    "workers": "pool_size = {value}",
    "processes": "pool_size = {value}",
    "exec": "command = {value}",
    "run": "command = {value}",
    "timeout": "start_timeout or stop_timeout",
    "startup_timeout": "start_timeout = {seconds}",
    "shutdown_timeout": "stop_timeout = {seconds}",
    "depends": "requires = [{value}]",
    "inherits": "extends = {value}",
    "template": "extends = {value}",
    "disabled": "enabled = false",
}
_ORIGINS = {
    "supervisord's": _SUPERVISORD,
    "systemd's": _SYSTEMD,
    "circus's": _CIRCUS,
    "pm2's": _PM2,
    "compose's": _COMPOSE,
    "": _SYNONYMS,
}
#: Of their whole-daemon tables.
_SETTINGS = {
    "childlogdir": "log_dir = {value}",
    "loglevel": "log_level = {value}",
    "files": "include = [{value}]",
    "identifier": "not needed: `-i INSTANCE` tells daemons apart",
    "minfds": "not needed: the daemon's own limit of descriptors is raised at start",
    "minprocs": "not needed",
    "nodaemon": "not needed: `run` stays in the foreground",
    "pidfile": "not needed: systemd knows the main process, and state_dir/lock holds its pid",
    "user": "User= of the unit",
    "umask": "umask of [defaults]",
    "endpoint": "path = {value} of [control]",
    "check_delay": "not needed: nothing is polled",
    "statsd": "not needed",
    "httpd": "not needed",
    "socket": "path = {value} of [control]",
}
_TABLES = {
    "program": "supervisord's [program:NAME] is [worker.NAME] here",
    "supervisord": "supervisord's [supervisord] is [supervisor] here",
    "unix_http_server": "supervisord's [unix_http_server] is [control] here",
    "watcher": "circus's [watcher:NAME] is [worker.NAME] here",
    "circus": "circus's [circus] is [supervisor] here",
    "service": "a service is [worker.NAME] here",
    "services": "compose's services.NAME is [worker.NAME] here",
    "process": "a process is [worker.NAME] here",
    "processes": "a process is [worker.NAME] here",
    "apps": "pm2's apps are [worker.NAME] here",
    "unit": "a unit of systemd is [worker.NAME] here",
    "install": "a unit's [Install] is autostart = true here",
    "include": 'supervisord\'s [include] is include = ["…"] of [supervisor] here',
    "group": "supervisord's groups are a common prefix of names here: 'media-*'",
    "inet_http_server": "there is no TCP control here: [control] is a unix socket",
    "supervisorctl": "not needed: the command finds the daemon by itself",
    "eventlistener": 'supervisord\'s event listener is a worker with events = ["…"] here',
    "socket": "circus's [socket:NAME] is sockets.NAME of a worker here",
    "env": "circus's [env] is environment.NAME of [defaults] here",
    "plugin": "circus's plugins are workers here",
    "include_dir": 'circus\'s include_dir is include = ["DIR/*.toml"] of [supervisor] here',
    "template": "a base is a [worker.NAME] with enabled = false; others extend it",
    "task": "tasks are in the queue, not in the file",
}
#: Words of others for a value of ours.
_VALUES = {
    "no": "never", "unexpected": "on-failure", "unless-stopped": "always",
    "on-abnormal": "on-failure", "on-abort": "on-failure", "on-success": "always",
    "true": "always", "false": "never", "group": "tree", "control-group": "tree",
    "process": "leader", "mixed": "leader", "main": "leader", "warn": "warning",
    "critical": "error", "fatal": "error", "trace": "debug", "blather": "debug", "plain": "text",
}  # fmt: skip
_RESTART = {"true": "always", "false": "never", "no": "never", "unexpected": "on-failure"}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the one of *known* that *word* most looks like; empty: none."""
    plain = {_plain(name): name for name in known}
    near = nearest(_plain(word), plain)
    return plain[near] if near else ""


def foreign_value(value: object, choices: Iterable[str]) -> str:
    """Return which of *choices* another program's word *value* means; empty: not known."""
    here = _VALUES.get(_toml(value).strip('"').lower(), "")
    return here if here in choices else ""


def foreign_table(name: str) -> str:
    """Return what another program's top table is called here; empty: not known."""
    return _TABLES.get(name.lower(), "")


def foreign_key(key: str, value: object) -> str:
    """Return what another program's worker key is called here, with its value; empty: not known."""
    word = key.lower()
    for origin, table in _ORIGINS.items():
        if word in table:
            here = table[word].format(
                value=_toml(value),
                seconds=_seconds(value),
                signal=_signal(value),
                restart=_toml(_RESTART.get(_toml(value).strip('"').lower(), "always")),
            )
            if here.startswith("not "):
                return f"{origin} {key} is {here}" if origin else here
            return f"{origin} {key} is {here} here" if origin else f"that is {here} here"
    return ""


def foreign_setting(key: str, value: object) -> str:
    """Return what a setting of another program's daemon is called here; empty: not known."""
    here = _SETTINGS.get(key.lower(), "").format(value=_toml(value))
    return f"that is {here} here" if here and not here.startswith("not") else here


def _plain(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")


def _toml(value: object) -> str:
    """Return *value* as it would be written, if it is short enough for a hint."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"' if value.isprintable() and '"' not in value and len(value) < 50 else "…"
    return str(value) if isinstance(value, float) or _is_small(value) else "…"


def _is_small(value: object) -> bool:
    return isinstance(value, int) and abs(value) < 10**12


def _seconds(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f'"{value}s"' if _is_small(value) or isinstance(value, float) else "…"
    bare = re.fullmatch(r"[0-9]{1,12}", value) if isinstance(value, str) else None
    return f'"{bare[0]}s"' if bare else _toml(value)


def _signal(value: object) -> str:
    if not isinstance(value, str):
        return '"SIGTERM"'
    name = value.upper()
    return _toml(name if name.startswith("SIG") else f"SIG{name}")
