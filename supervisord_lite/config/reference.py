"""What each key of the configuration is for: pure data, for people.

The loader (`keys.py` and whoever reads the values) decides what is allowed; this says it. From here
come the tables of README, `config/supervisord-lite.toml` and `supervisord-lite help KEY`. A test
compares it with the loader: every key is here and no other, each default is the one that the loader
takes, each effect is the one that a reload has. Whoever changes a text types
`python -m tests.support.readme` afterwards, which writes the tables and the file anew.

No process of the daemon imports this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What a reload does with a key that has another value. "live": it holds from then on. "reopen":
#: output goes on elsewhere. "restart": the worker's processes are replaced. "next start": it holds
#: after the daemon's next start. "": what else changes with it decides.
Holds = Literal["live", "reopen", "restart", "next start", ""]


class Key(NamedTuple):
    """One key.

    Attributes:
        key: Dotted, as one writes it; NAME stands for a name of one's own.
        kind: Of its value, in a few words.
        default: As TOML; empty: there is none, or `otherwise` says it.
        holds: See `Holds`.
        text: What it does, in one or two sentences.
        example: A value as TOML, where there is no default to show.
        otherwise: A default in words, or what it is in other cases.
    """

    key: str
    kind: str
    default: str
    holds: Holds
    text: str
    example: str = ""
    otherwise: str = ""


class Group(NamedTuple):
    """Keys that answer one question.

    Attributes:
        name: Of the block in README.
        topic: Of `help`: the section of README with that block.
        table: Where the keys stand: "supervisor", "control" or "worker".
        title: The question.
        keys: In the order in which they are shown.
    """

    name: str
    topic: str
    table: Literal["supervisor", "control", "worker"]
    title: str
    keys: tuple[Key, ...]


_FLAG = "true or false"
_DURATION = "duration"
_SIZE = "size"
_WHOLE = "whole number"
_TEXTS = "text or list of texts"
_COMMAND = "list of words, or words in one text"
_GRANTS = 'list of "user", "@group", "*"'
_RLIMIT = "a resource limit, soft and hard: see setrlimit(2)"
_RLIMIT_NAMES = ("nofile", "nproc", "rtprio", "rttime", "sigpending")
_RLIMIT_SIZES = ("as", "core", "data", "fsize", "memlock", "msgqueue", "rss", "stack")


SUPERVISOR = Group("supervisor", "daemon", "supervisor", "the daemon", (
    Key("include", "list of paths and patterns", "", "live",
        "more files, in this order; a pattern may match nothing, a name must be there",
        '["conf.d/*.toml"]'),
    Key("environment_file", _TEXTS, "", "live",
        "files of NAME=VALUE lines for ${NAME} in the configuration; they beat the daemon's "
        "environment. In the first file only; \"-FILE\" may be missing",
        '"-/etc/default/supervisord-lite"'),
    Key("state_dir", "path", "", "next start",
        "where event journal, state, and the configuration in force are kept",
        '"/var/lib/supervisord-lite"',
        "StateDirectory= of the unit, /var/lib/supervisord-lite, or "
        "~/.local/state/supervisord-lite"),
    Key("runtime_dir", "path", "", "next start",
        "sockets and files of workers that run; gone with the boot",
        '"/run/supervisord-lite"',
        "RuntimeDirectory= of the unit, /run/supervisord-lite, $XDG_RUNTIME_DIR/supervisord-lite, "
        "or /tmp/supervisord-lite-UID"),
    Key("log_dir", "path", "", "live",
        "where output of workers goes that say nothing else: NAME.log",
        '"/var/log/supervisord-lite"',
        "LogsDirectory= of the unit; else workers inherit the daemon's output"),
    Key("log_level", '"debug", "info", "warning" or "error"', '"info"', "next start",
        "how much the daemon says of itself, on its stderr"),
    Key("log_format", '"text" or "json"', "", "next start",
        "how the daemon's own lines look",
        '"json"', "text on a terminal, else json"),
    Key("http", '"HOST:PORT"', "", "next start",
        "serves /livez, /readyz and /metrics there, to anybody who can reach it",
        '"127.0.0.1:9178"'),
    Key("drain", _DURATION, "", "live",
        "before a planned stop /readyz says 503 for so long; needs http",
        '"15s"'),
))  # fmt: skip

CONTROL = Group("control", "daemon", "control", "who may control the daemon", (
    Key("path", "path", "", "next start",
        "the control socket", '"/run/supervisord-lite/control/control.sock"',
        "runtime_dir/control/control.sock"),
    Key("admin", _GRANTS, "[]", "live",
        "who may everything, also reload and shutdown, besides root and the daemon's own user"),
    Key("operate", _GRANTS, "[]", "live",
        "who may start, stop, restart, reset, signal and scale; and read"),
    Key("read", _GRANTS, "[]", "live",
        "who may ask for status, why, events and logs, and wait"),
))  # fmt: skip

PROGRAM = Group("program", "program", "worker", "what runs", (
    Key("command", _COMMAND, "", "restart",
        "the program and its arguments. No shell reads it: one text is split like a shell would. "
        "A name without a slash is looked up in the worker's PATH",
        '["sleep", "infinity"]'),
    Key("python", '"package.module:Target"', "", "restart",
        "instead of a command: a function or class", '"shop.orders:Consumer"'),
    Key("interpreter", "path, or a name in PATH", "", "restart",
        "which Python runs the target, from 3.9 on", '".venv/bin/python"', "the daemon's"),
    Key("preload", "list of modules", "[]", "restart",
        "imported once, before the processes are forked: they share that memory"),
    Key("config.NAME", "anything but dates", "", "restart",
        "a keyword argument of the Python target", "50"),
    Key("extends", "a worker", "", "",
        "takes over the keys of that worker, below its own", '"base"'),
    Key("enabled", _FLAG, "true", "",
        "false: never started and looked at key by key only; others may extend it. "
        "Not handed on to them"),
    Key("autostart", _FLAG, "true", "live",
        "false: waits for `start`"),
    Key("directory", "path", "", "restart",
        "where it runs", '"/srv/shop"', "the folder of the file in which it stands first"),
    Key("environment.NAME", "text, whole number or false", "", "restart",
        "a variable, besides those of the daemon; false unsets one", '"production"'),
    Key("environment_file", _TEXTS, "", "restart",
        'files of NAME=VALUE lines; "-FILE" may be missing. environment.NAME beats them',
        '"-shop.env"'),
    Key("user", "name or number", "", "restart",
        "whom it runs as, with all his groups; sets HOME, USER, LOGNAME and SHELL", '"nobody"',
        "the daemon's"),
    Key("group", "name or number", "", "restart",
        "its primary group", '"nogroup"', "that of the user"),
    Key("umask", "octal text", '"022"', "restart",
        "which permissions its new files lack"),
    Key("nice", "whole number, -20 to 19", "0", "restart",
        "added to the daemon's niceness"),
    Key("capabilities", "name or list of names", "", "restart",
        "which capabilities it keeps, also those that programs it runs may get: `[]` is none. For "
        "a user they are ambient; the daemon must have them itself",
        '["CAP_NET_BIND_SERVICE"]', "the daemon's; none for another user"),
    Key("no_new_privs", _FLAG, "false", "restart",
        "no program that it runs gets more rights than it has: sudo, ping and other setuid "
        "programs stay what the worker is"),
))  # fmt: skip

POOL = Group("pool", "pools", "worker", "how many, and how they are replaced", (
    Key("pool_size", "whole number, 1 to 1024", "1", "live",
        "so many processes of it; two are web-1 and web-2"),
    Key("singleton", _FLAG, "false", "live",
        "never two of it, not even for a moment"),
    Key("max_unavailable", _WHOLE, "1", "live",
        "a restart of the pool stops so many at once, and starts them again",
        otherwise="0 with sockets that are not private"),
    Key("max_surge", _WHOLE, "0", "live",
        "a restart of the pool starts so many more first, and stops the old ones when the new ones "
        "are ready", otherwise="1 with sockets that are not private"),
))  # fmt: skip

START = Group("start", "starting", "worker", "when it starts, and when it is ready", (
    Key("requires", "list of workers", "[]", "live",
        "it starts when they are ready, and stops before they do"),
    Key("after", "list of workers", "[]", "live",
        "it starts when they are ready or have given up"),
    Key("ready", 'duration, "spawned", "exit", "health", "notify", "fd:3"', '"1s"', "live",
        'what makes it ready: to have lived so long, to be spawned, to end well ("exit", a job '
        'that others wait for), the first good answer, READY=1 on its notification socket, or a '
        "newline on that descriptor (3 to 9). To or from the last two: restart",
        otherwise='"health" where health is set; a Python target: when it runs'),
    Key("start_timeout", _DURATION, '"60s"', "live",
        "not ready by then is a failure"),
    Key("run_timeout", _DURATION, "", "live",
        "a run that lasts longer is stopped, and has failed", '"1h"'),
))  # fmt: skip

FAILURE = Group("failure", "failures", "worker", "when it ends or fails", (
    Key("restart", '"always", "on-failure" or "never"', '"on-failure"', "live",
        "after which ends it is started again: every one, failures, or none",
        otherwise='"never" with schedule'),
    Key("ok_exit_codes", "list of whole numbers", "[0]", "live",
        "exit codes that are no failure"),
    Key("stable_run_period", _DURATION, '"30s"', "live",
        "after a run of this length the waits begin anew, and a start on trial has succeeded"),
    Key("max_restarts", "whole number, 1 to 1000", "5", "live",
        "this many failures inside the window open the breaker: the fifth of five, so five starts"),
    Key("circuit_window", _DURATION, '"10m"', "live",
        "how far back failures count"),
    Key("circuit_cooldown", _DURATION, "", "live",
        "after this time an open breaker gives it one start on trial; without it `reset` does",
        '"15m"'),
    Key("backoff.min", _DURATION, '"1s"', "live",
        "the wait before the first restart"),
    Key("backoff.max", _DURATION, '"5m"', "live",
        "the longest wait; also that for a program or folder that is missing"),
    Key("backoff.factor", "number, from 1", "2", "live",
        "each wait is so many times the one before"),
    Key("backoff.jitter", _FLAG, "true", "live",
        "each wait is drawn from its upper half, so that a pool does not restart in step"),
    Key("critical", 'true, false or "all"', "false", "live",
        "true: when its breaker opens the others are stopped in order, and `run` ends with 75; "
        '"all": when those of all its instances are open'),
))  # fmt: skip

STOP = Group("stop", "stopping", "worker", "how it stops", (
    Key("stop_signal", "signal, or list of them", '"SIGTERM"', "live",
        "what is sent to stop it; a list is a ladder, with a stop_timeout for each. At its end the "
        "whole tree gets SIGKILL"),
    Key("stop_timeout", "duration, or list of them", '"10s"', "live",
        "how long each signal is waited for"),
    Key("stop_scope", '"leader" or "tree"', '"leader"', "live",
        "who gets the signals: the first process, or all of its tree"),
))  # fmt: skip

HEALTH = Group("health", "health", "worker", "whether it works", (
    Key("health.http", '"http://HOST:PORT/PATH" or "SOCKET:/PATH"', "", "live",
        "asked by HTTP: good is an answer of 2xx or 3xx; SOCKET is a private one of sockets.NAME",
        '"http://127.0.0.1:8000/healthz"'),
    Key("health.tcp", '"HOST:PORT"', "", "live",
        "asked by connecting: good is a connection", '"127.0.0.1:8000"'),
    Key("health.exec", _COMMAND, "", "live",
        "asked by a command: good is exit 0. It runs as the worker's user, in its directory and "
        "environment",
        '["/usr/bin/true"]'),
    Key("health.interval", _DURATION, '"10s"', "live",
        "once it is ready it is asked so often"),
    Key("health.timeout", _DURATION, '"3s"', "live",
        "within which it must have answered"),
    Key("health.failures", "whole number, from 1", "3", "live",
        "so many bad answers in a row are a failure"),
    Key("heartbeat_timeout", _DURATION, "", "restart",
        "once it is ready it must give a sign of life so often (WATCHDOG=1, context.heartbeat()), "
        "or it is ended and has failed", '"30s"'),
))  # fmt: skip

SCHEDULE = Group("schedule", "jobs", "worker", "jobs by the clock", (
    Key("schedule.cron", "a line of cron", "", "live",
        'it runs when it is time: "7 * * * *", "@daily"', '"7 * * * *"'),
    Key("schedule.every", _DURATION, "", "live",
        "it runs so often, from start to start; instead of schedule.cron", '"1h"'),
    Key("schedule.timezone", "a name", "", "live",
        "the clock that schedule.cron follows", '"Europe/Vienna"', "the machine's"),
    Key("schedule.overlap", '"skip" or "wait"', '"skip"', "live",
        'a run that is due while one is going is left out; "wait": begins when that has ended'),
    Key("schedule.missed", '"skip" or "once"', '"skip"', "live",
        'what was missed is left out; "once": made up for, once'),
))  # fmt: skip

SOCKETS = Group("sockets", "sockets", "worker", "sockets that the daemon holds for it", (
    Key("sockets.NAME", '"HOST:PORT", "unix:PATH", "systemd:NAME", "private", or a table', "",
        "restart",
        "the daemon listens there and hands the socket to each process, from descriptor 3 on; "
        '"private": one for each process, for health.http', '"127.0.0.1:8000"'),
    Key("sockets.NAME.listen", "as above", "", "restart",
        "the address, where the socket is a table", '"unix:/run/shop/web.sock"'),
    Key("sockets.NAME.backlog", "whole number, 1 to 65535", "4096", "restart",
        "connections that wait at most"),
    Key("sockets.NAME.fd", "whole number, 0 to 255", "", "restart",
        "at which descriptor it is found; 0 for fcgi programs", "3", "from 3 on, in order"),
    Key("sockets.NAME.mode", "octal text", '"0660"', "restart",
        "permissions of a unix socket"),
    Key("sockets.NAME.owner", "name or number", "", "restart",
        "who owns a unix socket", '"root"', "the worker's user"),
    Key("sockets.NAME.group", "name or number", "", "restart",
        "the group of a unix socket", '"root"', "the worker's group"),
))  # fmt: skip

SECRETS = Group("secrets", "secrets", "worker", "secrets", (
    Key("secrets.NAME", '"file:PATH", "credential:NAME" or false', "", "restart",
        "where the secret is kept, never the value; read anew at each start",
        '"file:/etc/shop/secrets/database_url"'),
    Key("secrets_as", '"environment" or "files"', '"environment"', "restart",
        'it gets a secret as variable NAME; "files": as a file that NAME_FILE names'),
))  # fmt: skip

LIMITS = Group("limits", "limits", "worker", "what it may use, and when it has had its share", (
    Key("limits.memory", _SIZE, "", "restart",
        "memory of its tree; by cgroup, where a controller is delegated, else `status NAME` says "
        "that it does not hold", '"1G"'),
    Key("limits.cpu", "number of cores", "", "restart",
        "CPU of its tree, by cgroup: 1.5 is one and a half cores", "1.5"),
    Key("limits.pids", _WHOLE, "", "restart",
        "processes and threads of its tree, by cgroup", "200"),
    *(Key(f"limits.{name}", 'whole number or "unlimited"', "", "restart", _RLIMIT,
          '"unlimited"', "the daemon's") for name in _RLIMIT_NAMES),
    *(Key(f"limits.{name}", 'size or "unlimited"', "", "restart", _RLIMIT,
          '"unlimited"', "the daemon's") for name in _RLIMIT_SIZES),
    Key("recycle.memory", _SIZE, "", "live",
        "a run whose tree uses so much gives way to a fresh one", '"900M"'),
    Key("recycle.age", _DURATION, "", "live",
        "a run of this age gives way to a fresh one", '"24h"'),
    Key("recycle.runs", "whole number, from 1", "", "live",
        "a run that has done so many units of work gives way to a fresh one; X_RUNS= on its "
        "notification socket counts them, or context.loop. For a worker without that socket: "
        "restart", "10000"),
    Key("recycle.jitter", "true, false or duration", "false", "live",
        "a run lasts longer by a part of its own: true, up to a tenth"),
))  # fmt: skip

OUTPUT = Group("log", "logs", "worker", "its output", (
    Key("log.stdout", 'path, "journal", "inherit" or "null"', "", "reopen",
        'where its output goes: a file, systemd\'s journal, the daemon\'s own output, or nowhere. '
        'log = "x" is log.stdout = "x". To or from the last two: restart',
        '"/var/log/shop/web.log"',
        "log_dir/NAME.log where log_dir is set, else \"inherit\""),
    Key("log.stderr", "the same", "", "reopen",
        "where its standard error goes", '"/var/log/shop/web.err.log"',
        "where stdout goes, in the order written"),
    Key("log.max_size", _SIZE, '"50M"', "reopen",
        "a file of this size is renamed to NAME.log.1, the next to NAME.log.2: a higher number is "
        "newer. 0: never by size"),
    Key("log.max_age", _DURATION, "", "reopen",
        "a file is renamed too when its first line is so old", '"1d"'),
    Key("log.backups", "whole number, up to 1000", "10", "reopen",
        "how many renamed files are kept"),
    Key("log.compress", _FLAG, "false", "reopen",
        "renamed files become NAME.log.1.gz"),
    Key("log.format", '"raw", "stamped" or "json"', '"raw"', "reopen",
        '"stamped": time and stream before each line; "json": an object a line, with what is no '
        "UTF-8 as \\xff"),
    Key("log.level_prefix", _FLAG, "true", "reopen",
        "to the journal: <3> at the beginning of a line is its priority"),
))  # fmt: skip

HEARING = Group("hearing", "listeners", "worker", "what it is told, and who may operate it", (
    Key("events", "list of globs", "[]", "live",
        'these events as JSON lines on its stdin: "worker.tripped", "job.*". Between none and '
        "some: restart"),
    Key("operators", _GRANTS, "[]", "live",
        "who may operate this worker, besides those who may operate all"),
))  # fmt: skip

#: In the order of the file; those of "worker" are [defaults]'s too, but for `extends`.
GROUPS = (
    SUPERVISOR, CONTROL, PROGRAM, POOL, START, FAILURE, STOP, HEALTH, SCHEDULE, SOCKETS, SECRETS,
    LIMITS, OUTPUT, HEARING,
)  # fmt: skip

#: What stands for NAME in an example.
_NAMES = {
    "config": "batch", "environment": "APP_ENV", "secrets": "DATABASE_URL", "sockets": "http",
}  # fmt: skip


def every() -> Iterator[tuple[Group, Key]]:
    """Return each key with its group."""
    for group in GROUPS:
        for key in group.keys:
            yield group, key


def find(word: str) -> list[tuple[Group, Key]]:
    """Return what *word* names: one key ("backoff.max"), or all below it ("backoff").

    The last part alone names every key that ends with it ("jitter" is two of them), where no key
    begins like that; a name of one's own stands for NAME ("environment.PATH").
    """
    found = [pair for pair in every() if pair[1].key == word]
    found += [pair for pair in every() if pair[1].key.startswith(f"{word}.")]
    if not found:
        found = [pair for pair in every() if pair[1].key.rpartition(".")[2] == word]
    if not found and "." in word:
        table, _, rest = word.partition(".")
        _, _, inner = rest.partition(".")
        name = f"{table}.NAME.{inner}" if inner else f"{table}.NAME"
        found = [pair for pair in every() if pair[1].key == name]
    return found


def default_of(key: Key) -> str:
    """Return the default for people: "none" where there is none."""
    if key.default and key.otherwise:
        return f"{key.default}; {key.otherwise}"
    return key.default or key.otherwise or "none"


def example_of(key: Key) -> str:
    """Return a line of a file with the key: its default, or an example where there is none."""
    name = key.key.replace("NAME", _NAMES.get(key.key.partition(".")[0], "NAME"))
    return f"{name} = {key.default or key.example}"
