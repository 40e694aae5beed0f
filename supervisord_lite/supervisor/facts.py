"""What the keeper reports, as the events that the core knows."""

from supervisord_lite.base.units import format_bytes
from supervisord_lite.core import events
from supervisord_lite.core.events import Event


def event_of(fact: dict[str, object]) -> Event:
    """Return the event that a fact of the keeper means."""
    run = number(fact["run"])
    match fact["fact"]:
        case "spawned":
            return events.Spawned(run, number(fact["pid"]))
        case "spawn_failed":
            return events.SpawnFailed(
                run,
                str(fact["stage"]),
                str(fact["reason"]),
                missing=bool(fact["missing"]),
                hopeless=bool(fact["hopeless"]),
            )
        case "exited":
            code, signal = fact["code"], fact["signal"]
            return events.Exited(
                run,
                None if code is None else number(code),
                None if signal is None else number(signal),
                emptied=bool(fact["emptied"]),
                words=str(fact.get("words", "")),
                oom=_oom(fact.get("oom")),
            )
        case "emptied":
            killed = fact["killed"]
            assert isinstance(killed, list)
            return events.Emptied(run, tuple(map(str, killed)))
        case "said":
            return events.ReadySaid(run)
        case "judged":
            return events.JudgedFailed(run, str(fact["reason"]))
        case "extended":
            until_s = fact["until_s"]
            assert isinstance(until_s, float)
            return events.Extended(run, until_s)
        case other:
            message = f"unknown fact {other!r}"
            raise ValueError(message)


def _oom(counted: object) -> str:
    """Return what a cgroup has counted of kills for memory, for people."""
    if not counted:
        return ""
    assert isinstance(counted, list | tuple), counted
    kills, peak, limit = counted
    if peak is not None and limit is not None:
        used = f"{format_bytes(peak)} of {format_bytes(limit)} "
    else:
        used = f"limit {format_bytes(limit)} " if limit is not None else ""
    return f"{used}(cgroup oom_kill +{kills})"


def number(value: object) -> int:
    """Return a number of a fact or request."""
    assert isinstance(value, int), value
    return value
