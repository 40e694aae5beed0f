"""Keys of later versions: judged like all others, so that mistakes show now, and then refused.

Whoever builds a feature takes its key out of here and reads it where its value is wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisord_lite.config import shapes
from supervisord_lite.config.policy import read_ok_exit_codes, read_stop_ladder
from supervisord_lite.config.secret_keys import secret_shape
from supervisord_lite.config.shapes import either, keys, like, named, one_of, whole
from supervisord_lite.config.values import shown
from supervisord_lite.config.words import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supervisord_lite.config.shapes import Shape
    from supervisord_lite.config.tree import Node, Table
    from supervisord_lite.config.values import Reader

#: Agents that need no table of their own.
BUILT_IN_AGENTS = ("goose", "claude", "codex", "opencode", "gemini", "qwen", "pi", "aider")
_PARSERS = (
    "goose-stream-json", "claude-stream-json", "codex-jsonl", "opencode-jsonl",
    "gemini-stream-json", "pi-jsonl", "text", "rules",
)  # fmt: skip
# Compiled where it is used: most files have no such key.
_STORE = r"sqlite|rediss?://\S+|unix://\S+"


def _agent(reader: Reader, node: Node) -> None:
    keys(_AGENT)(reader, node)
    read_stop_ladder(reader, node.table() or {})


def _exit_codes(reader: Reader, node: Node) -> None:
    read_ok_exit_codes(reader, {"ok_exit_codes": node})


_PRICE = keys(input_usd_per_mtok=shapes.number(0, 1e6), output_usd_per_mtok=shapes.number(0, 1e6))
_LIMITS = keys(memory=shapes.size, cpu=shapes.number(0.01, 4096), pids=whole(1, 2**31))
_VARIABLES = named(either((bool, int), shapes.anything, shapes.text))

#: Of a worker.
WORKER: Mapping[str, Shape] = {
    "agent": shapes.text,
    "container": either((dict,), shapes.anything, keys()),
    "queue": shapes.texts,
    "warm": whole(0, 1024),
}  # fmt: skip
_QUEUE: Mapping[str, Shape] = {
    "repo": shapes.text,
    "base": shapes.text,
    "remote": shapes.text,
    "push": shapes.flag,
    "branch": shapes.text,
    "isolation": one_of(("worktree", "clone", "container", "inplace"), "a kind of isolation"),
    "setup": shapes.command,
    "verify": shapes.command,
    "publish": shapes.command,
    "no_changes": one_of(("fail", "accept"), "an answer to a task that changed nothing"),
    "max_attempts": whole(1, 100),
    "retry_delays": shapes.durations,
    "budget": keys(
        usd=shapes.number(0, 1e9),
        usd_per_task=shapes.number(0, 1e9),
        tokens=whole(0, 10**15),
        per=shapes.duration,
    ),
    "stall_after": shapes.duration,
}
_AGENT: Mapping[str, Shape] = {
    "command": shapes.command,
    "input": one_of(("file", "stdin", "argument"), "a way to hand over a task"),
    "parser": one_of(_PARSERS, "a parser of an agent's output"),
    "environment": _VARIABLES,
    "environment_pass": shapes.texts,
    "secrets": named(secret_shape),
    "run_timeout": shapes.duration,
    "start_silence": shapes.duration,
    "silence": shapes.duration,
    "result_grace": shapes.duration,
    "stop_signal": shapes.anything,
    "stop_timeout": shapes.anything,
    "ok_exit_codes": _exit_codes,
    "require": one_of(("changes", "commit", "none", "verify"), "a proof of success"),
    "max_output": shapes.size,
    "limits": _LIMITS,
    "price": _PRICE,
}
#: Tables at the top.
TOP: Mapping[str, Shape] = {
    "work": keys(
        store=like(_STORE, '"sqlite" or "redis://HOST:PORT/NUMBER"'),
        machine=shapes.text,
        secrets=named(secret_shape),
    ),
    "queue": named(keys(_QUEUE)),
    "agent": named(_agent),
}


def other_table(key: str) -> str:
    """Return the kind of table that has *key*, for a key that no worker has; empty: none."""
    return "queue" if key in _QUEUE else "agent" if key in _AGENT else ""


def check_names(reader: Reader, top: Table, tables: Mapping[str, Table]) -> None:
    """Note agents and queues that workers name and nobody has configured.

    Args:
        reader: Takes the problems.
        top: Of all files.
        tables: The keys of each enabled worker.
    """
    if reader.alone:
        return
    agents = [*BUILT_IN_AGENTS, *reader.table(top, "agent")]
    queues = ["default", *reader.table(top, "queue")]
    for table in tables.values():
        for key, known in (("agent", agents), ("queue", queues)):
            for item in table[key].items() if key in table else ():
                if isinstance(item.value, str) and item.value and item.value not in known:
                    near = did_you_mean(item.value, known)
                    hint = f'did you mean "{near}"?' if near else f"it needs a [{key}.NAME]"
                    reader.at_value(item, f"there is no {key} {shown(item.value)}", hint)
