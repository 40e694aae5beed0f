"""The topics of `help`: each a section of README, with a line of its own."""

from __future__ import annotations

from typing import NamedTuple


class Topic(NamedTuple):
    """One section of README.

    Attributes:
        name: As it is typed.
        heading: Of the section.
        text: What it is about, for the list.
    """

    name: str
    heading: str
    text: str


TOPICS = (
    Topic("tour", "The tour", "five minutes: a file, a crash, an edit, a Python worker"),
    Topic("configuration", "Configuration", "the file: values, variables, includes, every key"),
    Topic("daemon", "The daemon", "the keys of [supervisor] and [control]"),
    Topic("program", "What runs", "command, user, directory, environment, extends"),
    Topic("pools", "How many, and how they are replaced", "pool_size, and restarts without a gap"),
    Topic("starting", "When it starts, and when it is ready", "requires, after, ready, notify"),
    Topic("failures", "When it ends or fails", "restart, backoff, the breaker, critical"),
    Topic("stopping", "How it stops", "the ladder of signals, and the tree"),
    Topic("health", "Whether it works", "probes and heartbeats"),
    Topic("jobs", "Jobs", "schedules: cron lines, time zones, overlap"),
    Topic("sockets", "Sockets", "ports that the daemon holds open for a worker"),
    Topic("secrets", "Secrets", "where they are kept, and how they get to a worker"),
    Topic("limits", "Limits and recycling", "memory, CPU, rlimits; a fresh run in time"),
    Topic("logs", "Logs", "files, rotation, the journal"),
    Topic("listeners", "Listeners and operators", "events on stdin; who may operate a worker"),
    Topic("reload", "Reload", "what an edit changes, and what it touches"),
    Topic("rights", "Who may control", "admin, operate, read"),
    Topic("security", "Security", "who is trusted, what holds against whom, capabilities"),
    Topic("why", "What happened, and why", "the story of a worker, and the event journal"),
    Topic("http", "For balancers and scrapers", "/livez, /readyz, /metrics, drain"),
    Topic("scripts", "In scripts", "wait, exit codes, varlink"),
    Topic("python", "Python workers", "functions and classes, preload, tests"),
    Topic("library", "As a library", "the same daemon, run by a program for itself"),
    Topic("exit-codes", "Exit codes", "of verbs and of run; signals"),
    Topic("states", "States", "what a worker can be, and what may follow"),
    Topic("systemd", "systemd", "units, readiness, watchdog"),
    Topic("upgrade", "Upgrade", "other code without a restart of any worker"),
    Topic("container", "In a container", "as PID 1: an image, signals, logs, health"),
    Topic("promises", "Promises", "what holds whatever is killed, and what is not promised"),
    Topic("how", "How it works", "processes, order, trees, what survives what"),
    Topic("coming-from", "Coming from", "supervisord, systemd units, pm2, circus, gunicorn"),
    Topic("performance", "Performance", "measured beside others"),
)

#: Where more is told of what a verb does; where the names are the same it follows anyway.
OF_VERBS = {
    "check": "configuration",
    "doctor": "systemd",
    "events": "why",
    "install-unit": "systemd",
    "metrics": "http",
    "reset": "failures",
    "restart": "pools",
    "run": "configuration",
    "scale": "pools",
    "shutdown": "http",
    "signal": "stopping",
    "start": "starting",
    "status": "tour",
    "stop": "stopping",
    "wait": "scripts",
}

#: Other words for topics: tables and states, and what people from elsewhere would type.
ALIASES = {
    "breaker": "failures",
    "circus": "coming-from",
    "compose": "container",
    "context": "python",
    "control": "daemon",
    "cron": "jobs",
    "defaults": "configuration",
    "docker": "container",
    "gunicorn": "coming-from",
    "journal": "logs",
    "keys": "configuration",
    "pm2": "coming-from",
    "prometheus": "http",
    "signals": "exit-codes",
    "supervisor": "daemon",
    "supervisord": "coming-from",
    "varlink": "scripts",
    "worker": "program",
    **dict.fromkeys(("backoff", "tripped", "probing"), "failures"),
    **dict.fromkeys(("exited", "running", "scheduled", "stopped", "waiting"), "states"),
}
