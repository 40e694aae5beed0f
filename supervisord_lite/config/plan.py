"""What a reload changes: the configuration in force against the one that the file means now.

Pure: specs in, a `Plan` out; what people read and what the daemon does are made from the same plan.
Values are compared key by key as the file names them (`flat.py`), so that an edit which changes no
value (a comment, an order, a default written out) changes nothing.

Each key has an effect on a worker that runs:

* ``live``     it holds from now on; the process is not touched.
* ``reopen``   its output goes on into another file, or under other limits; not touched either.
* ``restart``  it holds only for a process that starts with it.
"""

from __future__ import annotations

import json

from supervisord_lite.base.record import record, replace
from supervisord_lite.config import flat
from supervisord_lite.config.secrecy import HIDDEN, is_secret, masked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Literal

    from supervisord_lite.config.flat import Key
    from supervisord_lite.config.spec import Launch, Settings, Spec

    Effect = Literal["live", "reopen", "restart"]

#: From weak to strong.
_EFFECTS: tuple[Effect, ...] = ("live", "reopen", "restart")
#: Keys that are handed to the process; whole tables by their first part.
_LAUNCH = frozenset(
    {"capabilities", "command", "config", "directory", "environment", "group", "heartbeat_timeout",
     "interpreter", "limits", "nice", "no_new_privs", "preload", "python", "secrets",
     "secrets_as", "sockets", "umask", "user"}
)  # fmt: skip
#: Written without quotes, as people say them.
_DURATIONS = frozenset(
    {("ready",), ("heartbeat_timeout",), ("start_timeout",), ("run_timeout",), ("stop_timeout",),
     ("stable_run_period",), ("circuit_window",), ("circuit_cooldown",),
     ("log", "max_age"), ("backoff", "min"), ("backoff", "max"), ("health", "interval"),
     ("health", "timeout"), ("recycle", "age"), ("recycle", "jitter"),
     ("schedule", "every")}
)  # fmt: skip
#: Characters at either end of a long value; two of these fit into a terminal's few lines.
_SHOWN_ENDS = 60
#: Keys of the daemon that hold from now on; the others need its restart.
LIVE_SETTINGS = frozenset(
    {("supervisor", "log_dir"), ("supervisor", "drain"), ("control", "admin"),
     ("control", "operate"), ("control", "read")}
)  # fmt: skip


@record
class KeyChange:
    """One key with another value.

    Attributes:
        key: As one writes it: "stop_timeout", "environment.LOG_LEVEL".
        old, new: As one writes them, long ones without their middle; None: absent; `HIDDEN` where
            nobody should read it.
        effect: On a worker that runs; None: it needs a restart of the daemon.
    """

    key: str
    old: str | None
    new: str | None
    effect: Effect | None


@record
class Changed:
    """One worker of which something changes.

    Attributes:
        old, new: What it was and will be.
        keys: In the order of the file's documentation; at least one.
    """

    old: Spec
    new: Spec
    keys: tuple[KeyChange, ...]

    @property
    def effect(self) -> Effect:
        """Return the strongest effect on those of its processes that stay."""
        return max((key.effect or "live" for key in self.keys), key=_EFFECTS.index)

    @property
    def is_other_program(self) -> bool:
        """Return whether more changes than how many there are, whose, and where they write."""
        return any(
            key.key not in ("pool_size", "operators")
            and (key.effect == "restart" or not key.key.startswith(("log.", "events")))
            for key in self.keys
        )


@record
class Plan:
    """Everything that a reload does. Workers stand in the order of the file.

    Attributes:
        added, removed: Workers that come and go.
        changed: Workers that stay, with other values.
        kept: Names of those that stay as they are.
        daemon: Keys of [supervisor] and [control] with other values.
    """

    added: tuple[Spec, ...]
    removed: tuple[Spec, ...]
    changed: tuple[Changed, ...]
    kept: tuple[str, ...]
    daemon: tuple[KeyChange, ...]

    @property
    def is_empty(self) -> bool:
        """Return whether nothing changes."""
        return not (self.added or self.removed or self.changed or self.daemon)


def make_plan(
    old: Iterable[Spec],
    new: Iterable[Spec],
    settings: tuple[Settings, Settings] | None = None,
    *,
    look: Callable[[], None] = lambda: None,
) -> Plan:
    """Return what leads from *old* to *new*.

    Args:
        old: In force, with the sizes that are in force.
        new: As the file means them, with the sizes that would be in force.
        settings: Those in force and those of the file; None: not compared, and nothing is known of
            secrets.
        look: Called after each worker, for whoever must not be away for long.
    """
    secrets = _Secrets(*settings) if settings else _NO_SECRETS
    before = {spec.pool: spec for spec in old}
    after = {spec.pool: spec for spec in new}
    changed, kept = [], []
    for pool, spec in after.items():
        if pool in before:
            keys = _changed_keys(before[pool], spec, secrets)
            if keys:
                changed.append(Changed(before[pool], spec, keys))
            else:
                kept.append(pool)
            look()
    return Plan(
        added=tuple(spec for pool, spec in after.items() if pool not in before),
        removed=tuple(spec for pool, spec in before.items() if pool not in after),
        changed=tuple(changed),
        kept=tuple(kept),
        daemon=_daemon_keys(*settings, secrets) if settings else (),
    )


class _Secrets:
    """What must not be shown of two configurations."""

    def __init__(self, *settings: Settings) -> None:
        found = {secret: len(secret) for each in settings for secret in each.secrets}
        self._found = sorted(found, key=found.__getitem__, reverse=True)

    def shown(self, key: Key, old: object, new: object) -> tuple[str | None, str | None]:
        """Return two values as people may read them; None: there is none."""
        if key[0] == "secrets" or (
            key[0] in ("environment", "config") and any(map(is_secret, key[1:]))
        ):
            return None if old is None else HIDDEN, None if new is None else HIDDEN
        was, now = (_text(key, masked(value, self._found)) for value in (old, new))
        return _shortened(was), _shortened(now)


_NO_SECRETS = _Secrets()


def _changed_keys(old: Spec, new: Spec, secrets: _Secrets) -> tuple[KeyChange, ...]:
    changes = _all_keys(old, new, secrets)
    if old.policy.schedule is None or new.policy.schedule is None:
        return changes
    # A run of a job that is going ends by itself: what is new holds for the next one. But whom it
    # would judge by a word that it cannot say.
    return tuple(
        replace(change, effect="live")
        if change.effect == "restart" and change.key != "ready"
        else change
        for change in changes
    )


def _all_keys(old: Spec, new: Spec, secrets: _Secrets) -> tuple[KeyChange, ...]:
    if old is new or old == new:
        return ()
    changes = tuple(
        KeyChange(flat.dotted(key), *secrets.shown(key, was, now), _effect(key, old, new))
        for key, was, now in _differences(flat.worker_keys(old), flat.worker_keys(new))
    )
    changes += _other_clock(old, new)
    changes += _rotated(old.launch, new.launch)
    if old.launch.identity == new.launch.identity:
        return changes
    if any(change.key in ("user", "group") for change in changes):
        return changes
    # The same name, and another account behind it.
    was, now = _shortened(_account(old.launch)), _shortened(_account(new.launch))
    return (*changes, KeyChange("user", was, now, "restart"))


def _rotated(old: Launch, new: Launch) -> tuple[KeyChange, ...]:
    """Return the secrets that are kept where they were, and are others now."""
    before = {(each.name, each.kind, each.place): each.digest for each in old.secrets}
    return tuple(
        KeyChange(flat.dotted(("secrets", each.name)), HIDDEN, HIDDEN, "restart")
        for each in new.secrets
        if each.digest
        and before.get((each.name, each.kind, each.place), "") not in ("", each.digest)
    )


def _other_clock(old: Spec, new: Spec) -> tuple[KeyChange, ...]:
    """Return the same time zone as changed where the machine knows other rules of it by now."""
    was, now = old.policy.schedule, new.policy.schedule
    if was is None or now is None or was.zone == now.zone or was.zone.name != now.zone.name:
        return ()
    name = json.dumps(now.zone.name) if now.zone.name else "the machine's"
    return (KeyChange("schedule.timezone", name, f"{name} (other rules)", "live"),)


def _account(launch: Launch) -> str | None:
    identity = launch.identity
    if identity is None:
        return None
    groups = " ".join(map(str, identity.groups))
    return f'"{identity.user}" (uid {identity.uid}, gid {identity.gid}, groups {groups})'


def _daemon_keys(old: Settings, new: Settings, secrets: _Secrets) -> tuple[KeyChange, ...]:
    found = []
    for table, was, now in (
        ("supervisor", flat.supervisor_keys(old), flat.supervisor_keys(new)),
        ("control", flat.control_keys(old), flat.control_keys(new)),
    ):
        found += [
            KeyChange(
                flat.dotted((table, *key)),
                *secrets.shown(key, before, after),
                "live" if (table, *key) in LIVE_SETTINGS else None,
            )
            for key, before, after in _differences(was, now)
        ]
    return tuple(found)


def _differences(
    old: Mapping[Key, object], new: Mapping[Key, object]
) -> Iterable[tuple[Key, object, object]]:
    for key in dict.fromkeys((*new, *old)):
        was, now = old.get(key), new.get(key)
        if was != now or type(was) is not type(now):
            yield key, was, now


def _effect(key: Key, before: Spec, after: Spec) -> Effect:
    old, new = before.launch, after.launch
    if key[0] in _LAUNCH:
        return "restart"
    if key == ("events",):
        # A stdin at which nobody speaks cannot become one at which somebody does.
        return "live" if before.events and after.events else "restart"
    if key in (("ready",), ("recycle", "runs")):
        # Who has no voice cannot be given one.
        was, now = (
            (each.notify, each.ready_fd, each.python is not None and each.python.says_ready)
            for each in (old, new)
        )
        return "live" if was == now else "restart"
    if key[0] != "log":
        return "live"
    if key[1] in ("stdout", "stderr"):
        was, now = getattr(old, key[1]), getattr(new, key[1])
        # What has no pipe cannot get one, and a pipe that is shared cannot be divided.
        has_pipes = was.kind in ("file", "journal") and now.kind in ("file", "journal")
        return "reopen" if has_pipes else "restart"
    kinds = {new.stdout.kind, new.stderr.kind}
    return "reopen" if kinds & {"file", "journal"} else "live"


def _text(key: Key, value: object) -> str | None:
    """Return a value as one writes it, durations without quotes."""
    if value is None:
        return None
    if isinstance(value, list):
        return f"[{', '.join(_text(key, item) or '' for item in value)}]"
    if key in _DURATIONS and not isinstance(value, bool):
        return value if isinstance(value, str) else f"{value:g}s"
    return json.dumps(value, ensure_ascii=False)


def _shortened(text: str | None) -> str | None:
    """Return a value with its middle left out where it is too long for anybody to read."""
    if text is None or len(text) <= 3 * _SHOWN_ENDS:
        return text
    return f"{text[:_SHOWN_ENDS]}… ({len(text):,} characters) …{text[-_SHOWN_ENDS:]}"
