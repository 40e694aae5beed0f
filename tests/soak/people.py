"""The people of a soak: one after the other they order, until they are answered.

Whoever asks may lose the connection with the supervisor that dies; what was asked may have been
done or not. So each order is said again until there is an answer, which says what holds from then
on: `wanted` is exactly what people want.
"""

import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.soak.fleet import Fleet
from tests.soak.schedule import Fault
from tests.support.daemon import CHECKOUT, Daemon, MethodFailedError
from tests.support.wait import wait_until

_MANAGER = "io.supervisordlite.Manager"
_RESIDENT = "supervisord_lite/base/resident.py"
#: A supervisor may hang, and is found and replaced meanwhile.
_PATIENCE_S = 60.0
#: These are answers; any other error is a fault of the daemon's.
_REFUSALS = {"Refused", "ConfigurationRefused", "NoSuchWorker"}


class Operator:
    """Carries out orders in a thread of its own.

    Attributes:
        wanted: Of each worker that may be ordered, whether people want it up.
        size: That people gave the elastic pool.
        resets: Of each worker that trips: breakers that were open, and were closed.
        unsure: The same, where nobody has answered.
        answers: How often what was the answer.
        broken: What should never have been answered; empty.
    """

    def __init__(self, daemon: Daemon, fleet: Fleet) -> None:
        """Begin with everybody wanted."""
        self._daemon = daemon
        self._fleet = fleet
        self._orders: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self.wanted = dict.fromkeys(fleet.slots("order"), True)
        self.size = fleet.pools["elastic"].size
        self.resets: Counter[str] = Counter()
        self.unsure: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.broken = ""
        self._is_over = threading.Event()
        self._changes = 0
        self._thread = threading.Thread(target=self._run, name="operator", daemon=True)
        self._thread.start()

    def order(self, fault: Fault) -> None:
        """Have something ordered, by the name of a method here."""
        method: Callable[[Fault], None] = getattr(self, fault.kind)
        self._orders.put(lambda: method(fault))

    def finish(self) -> None:
        """Wait until all that was ordered is answered."""
        done = threading.Event()
        self._orders.put(done.set)
        wait_until(
            lambda: done.is_set() or self.broken, what="all orders are answered",
            timeout_s=3 * _PATIENCE_S,
        )  # fmt: skip

    def close(self) -> None:
        """End the thread; what was not begun is not done."""
        self._is_over.set()
        self._orders.put(None)
        self._thread.join(2 * _PATIENCE_S)

    def _run(self) -> None:
        while (one := self._orders.get()) is not None and not self._is_over.is_set():
            try:
                one()
            except Exception as error:  # noqa: BLE001  # the soak says it, and ends
                self.broken = self.broken or f"an order was answered with {error!r}"

    def say(self, method: str, **parameters: object) -> dict[str, Any] | None:
        """Order until it is answered; return the answer, None for a refusal.

        Raises:
            TimeoutError: Nobody answered.
            MethodFailedError: It was no refusal that anybody could understand.
        """
        end_s = time.monotonic() + _PATIENCE_S
        while not self._is_over.is_set():
            try:
                answer = self._daemon.call(f"{_MANAGER}.{method}", timeout_s=20, **parameters)
            except MethodFailedError as error:
                name = str(error.args[0]).rpartition(".")[2]
                self.answers[f"{method}: {name}"] += 1
                if name not in _REFUSALS:
                    raise
                return None
            except OSError as error:
                self.answers[f"{method}: lost"] += 1
                if time.monotonic() > end_s:
                    message = f"{method} was not answered: {error}"
                    raise TimeoutError(message) from None
                self._is_over.wait(0.02)
                continue
            self.answers[f"{method}: done"] += 1
            return answer
        return None

    # What people do, by the kind of a fault.

    def stop(self, fault: Fault) -> None:
        """Stop one worker."""
        if self.say("Stop", names=[fault.target], wait=False) is not None:
            self.wanted[fault.target] = False

    def start(self, fault: Fault) -> None:
        """Start one that was stopped, or the one that is named."""
        stopped = sorted(slot for slot, is_wanted in self.wanted.items() if not is_wanted)
        name = stopped[int(fault.amount * len(stopped))] if stopped else fault.target
        if self.say("Start", names=[name], wait=False) is not None:
            self.wanted[name] = True

    def restart(self, fault: Fault) -> None:
        """Restart one worker."""
        if self.say("Restart", names=[fault.target], wait=False) is not None:
            self.wanted[fault.target] = True

    def roll(self, fault: Fault) -> None:
        """Restart a pool, of which nobody is stopped: a roll that ends early starts no others."""
        if all(self.wanted[slot] for slot in self._fleet.pools[fault.target].slots):
            self.say("Restart", names=[fault.target], wait=False)

    def scale(self, fault: Fault) -> None:
        """Give the elastic pool another size."""
        size = 2 + int(fault.amount * 7)
        if self.say("Scale", sizes={"elastic": size}) is not None:
            self.size = size

    def reload_same(self, _fault: Fault) -> None:
        """Put the first file in force again."""
        self._daemon.write(self._fleet.text())
        self.say("Reload", dry_run=False)

    def reload_broken(self, fault: Fault) -> None:
        """Offer a file that is wrong."""
        wrong = ["[worker.lines\n", "[worker.x]\ncomand = 'true'\n", "\0", "[supervisor]\nx = 1\n"]
        self._daemon.write(self._fleet.text() + wrong[int(fault.amount * len(wrong))])
        if self.say("Reload", dry_run=False) is not None:
            self.broken = self.broken or f"a wrong file was taken: {fault}"

    def reload_changed(self, fault: Fault) -> None:
        """Change one pool."""
        self._changes += 1
        more = [
            f"environment.SOAK_CHANGE = '{self._changes}'\n",
            f"run_timeout = '{1000 + self._changes}s'\n",
            f"stable_run_period = '{20 + self._changes}s'\n",
            f"nice = {1 + self._changes % 5}\n",
        ][int(fault.amount * 4)]
        self._daemon.write(self._fleet.text({fault.target: more}))
        self.say("Reload", dry_run=False)

    def dry_run(self, _fault: Fault) -> None:
        """Ask what a reload would change."""
        self.say("Reload", dry_run=True)

    def reset(self, fault: Fault) -> None:
        """Close a breaker, if it is open."""
        name = "trip" if fault.amount < 0.5 else "cool"
        answer = self.say("Status", names=[name])
        if answer is None or answer["workers"][0]["state"] != "tripped":
            return
        try:
            self._daemon.call(f"{_MANAGER}.Reset", names=[name], wait=False, timeout_s=20)
        except OSError:
            # Said again it might close the breaker in the middle of what the first has begun.
            self.unsure[name] += 1
        else:
            self.resets[name] += 1

    def upgrade(self, fault: Fault) -> None:
        """Put the same code in force again, the main process's too, or not."""
        self.say(
            "Upgrade", interpreter=sys.executable, resident=str(CHECKOUT / _RESIDENT),
            keeper=fault.amount < 0.5,
        )  # fmt: skip

    def sample(self, _fault: Fault) -> None:
        """Look at what all of them use."""
        self.say("Status", names=[], samples=True)

    def read(self, _fault: Fault) -> None:
        """Ask what has happened."""
        self.say("Events", events=["*"], names=["*"], most=100)

    def ask(self, fault: Fault) -> None:
        """Type a command, as people do."""
        verbs = [("why", fault.target), ("events", "-n", "50"), ("logs", fault.target), ("status",)]
        verb, *rest = verbs[int(fault.amount * len(verbs))]
        done = self._daemon.ctl(verb, *rest, timeout_s=_PATIENCE_S)
        self.answers[f"{verb}: {done.returncode}"] += 1

    # After the chaos.

    def restore(self) -> None:
        """Order what was in the beginning.

        Raises:
            AssertionError: The first file is refused.
        """
        self._daemon.write(self._fleet.text())
        assert self.say("Reload", dry_run=False) is not None, "the first file is refused"
        size = self._fleet.pools["elastic"].size
        if self.size != size:
            assert self.say("Scale", sizes={"elastic": size}) is not None
            self.size = size
        stopped = [slot for slot, is_wanted in self.wanted.items() if not is_wanted]
        if stopped:
            assert self.say("Start", names=stopped, wait=False) is not None
            self.wanted.update(dict.fromkeys(stopped, True))
