"""What the workers of a soak do, and what each writes down for whoever judges afterwards.

Run as `python -ISu programs.py KIND`, or forked from a warm interpreter (`programs:forked`). It is
a worker's code: nothing of the tests or of the daemon is imported here, but by `forked`.

In the folder that the variable SOAK names, so that none of it goes through the daemon:

* `locks/NAME.a`: locked as long as a process of the slot lives, also by what it leaves behind. Who
  finds it locked says so in `shouts`, and ends. A slot that may have two runs for a moment, because
  the new one starts first, has `NAME.b` too.
* `said/NAME~RUN`: how many lines and bytes a run has said; first what it is about to have said,
  then what it has. So a run that is killed in between is off by one write, and known to be.
* `starts/NAME`: a line for each start, with the time.
"""

import fcntl
import os
import select
import signal
import socket
import sys
import time

PIPE_BUF = 4096  # what is written at once arrives as a whole, or not at all
DOUBLE = 97  # exit code of the second of a slot
FLOOD_LINES = 10_000
_INTENDED, _DONE = 0, 42  # where these stand in the record


def chance() -> float:
    """Return a draw from [0, 1); the module for that would be a third of such a process."""
    return int.from_bytes(os.urandom(4), "big") / 2**32


class Slot:
    """This run of this slot.

    Attributes:
        name: "lines-3".
        is_ending: SIGTERM has come.
    """

    def __init__(self, *, most: int = 1) -> None:
        """Take the slot; at most so many may have it."""
        self.folder = os.environ["SOAK"]
        self.name = os.environ["SUPERVISORD_LITE_NAME"]
        self.run = os.environ["INVOCATION_ID"]
        self.is_ending = False
        self.floods = 0
        self._lines = self._bytes = 0
        self._wake, self._waker = -1, -1
        self._hold(most)
        path = f"{self.folder}/starts/{self.name}"
        self._note(path, f"{time.monotonic():.6f}\n")
        path = f"{self.folder}/said/{self.name}~{self.run}"
        self._record = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        self._write_down(_INTENDED)
        self._write_down(_DONE)

    def _hold(self, most: int) -> None:
        holders = []
        for letter in "ab"[:most]:
            # Not closed on a fork: whoever is left behind holds it too.
            own = os.open(f"{self.folder}/locks/{self.name}.{letter}", os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holders.append(os.pread(own, 100, 0).decode())
                continue
            os.ftruncate(own, 0)
            os.pwrite(own, b"%d" % os.getpid(), 0)
            return
        self.shout(f"two live processes: {os.getpid()} beside {' and '.join(holders)}")
        os._exit(DOUBLE)

    def shout(self, words: str) -> None:
        """Say what must never be."""
        self._note(f"{self.folder}/shouts", f"{self.name}: {words}\n")

    def _note(self, path: str, text: str) -> None:
        own = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(own, text.encode())
        os.close(own)

    def _write_down(self, place: int) -> None:
        os.pwrite(self._record, b"%20d %20d\n" % (self._lines, self._bytes), place)

    def say(self, count: int = 1) -> None:
        """Say the next lines; what is written at once are whole lines."""
        head, chunk, lines = f"{self.name} {self.run} ".encode(), b"", 0
        for place in range(count):
            chunk += b"%s%d %s\n" % (head, self._lines + lines, b"." * (place % 40))
            lines += 1
            if len(chunk) > PIPE_BUF - 200 or place == count - 1:
                self._lines, self._bytes = self._lines + lines, self._bytes + len(chunk)
                self._write_down(_INTENDED)
                os.write(1, chunk)
                self._write_down(_DONE)
                chunk, lines = b"", 0

    def obey_signals(self) -> None:
        """SIGTERM asks for the end, SIGUSR1 for a flood; `wait` sees both."""
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._waker, False)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._end)
        signal.signal(signal.SIGUSR1, self._flood)

    def _end(self, _number: int, _frame: object) -> None:
        self.is_ending = True

    def _flood(self, _number: int, _frame: object) -> None:
        self.floods += 1

    def wait(self, wait_s: float, *descriptors: int) -> list[int]:
        """Wait for the time, a signal or a descriptor; return those that have something."""
        if self.is_ending or self.floods:
            wait_s = 0.0
        ready = select.select([self._wake, *descriptors], [], [], wait_s)[0]
        if self._wake in ready:
            os.read(self._wake, 4096)
            ready.remove(self._wake)
        while self.floods and not self.is_ending:
            self.floods -= 1
            self.say(FLOOD_LINES)
        return ready


def lines(slot: Slot, pause_s: float = 0.5) -> None:
    """Say a line now and then."""
    while not slot.is_ending:
        slot.say()
        slot.wait(pause_s)


def calm(slot: Slot) -> None:
    """Say many lines; nothing ever happens to it."""
    lines(slot, 0.05)


def crash(slot: Slot) -> None:
    """Fail after a while, in one way or another."""
    until_s = time.monotonic() + 0.3 + 6.0 * chance()
    while not slot.is_ending and time.monotonic() < until_s:
        slot.say()
        slot.wait(0.1)
    if not slot.is_ending:
        match int(3 * chance()):
            case 0:
                os._exit(3)
            case 1:
                os.kill(os.getpid(), signal.SIGKILL)
            case _:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGALRM)


def deaf(slot: Slot) -> None:
    """Go on whatever is said."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        slot.say()
        slot.wait(0.5)


def fork(slot: Slot) -> None:
    """Leave somebody behind who has a session of his own and holds the slot; then fail."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                signal.pause()
        os._exit(0)
    os.wait()
    crash(slot)


def beat(slot: Slot) -> None:
    """Give signs of life."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
        address = os.environ["NOTIFY_SOCKET"]
        own.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
        own.send(b"READY=1")
        while not slot.is_ending:
            own.send(b"WATCHDOG=1\nSTATUS=beats")
            slot.say()
            slot.wait(0.5)


def web(slot: Slot) -> None:
    """Answer whoever connects with its pid."""
    with socket.socket(fileno=3) as own:
        own.setblocking(False)
        while not slot.is_ending:
            slot.wait(1.0, own.fileno())
            try:
                client = own.accept()[0]
            except BlockingIOError:
                continue
            with client:
                slot.say()
                try:
                    client.sendall(b"%d\n" % os.getpid())
                except OSError:
                    continue


def job(slot: Slot) -> None:
    """Do it, and be done."""
    slot.say()


def ears(slot: Slot) -> None:
    """Hear events, each once and in order, over all runs of the slot."""
    own = os.open(f"{slot.folder}/heard/{slot.name}", os.O_RDWR | os.O_CREAT, 0o644)
    latest = int(os.pread(own, 20, 0) or b"0")
    rest = b""
    while not slot.is_ending:
        if 0 not in slot.wait(5.0, 0):
            continue
        data = os.read(0, 65536)
        if not data:
            return
        *told, rest = (rest + data).split(b"\n")
        for line in told:
            _, mark, text = line.partition(b'"id":"')
            if not mark:  # how many it has missed
                continue
            number = int(text.partition(b'"')[0].rpartition(b"-")[2])
            if number <= latest:
                slot.shout(f"event {number} was told after {latest}")
            latest = number
            os.pwrite(own, b"%20d" % latest, 0)
        slot.say(len(told))


def trip(_slot: Slot) -> None:
    """Fail at once."""
    os._exit(1)


def forked() -> None:
    """Say lines, as a fork of a warm interpreter."""
    from supervisord_lite.worker import context

    slot = Slot()
    for turn in context.loop(every_s=0.5):
        slot.say()
        if turn and chance() < 0.02:
            raise RuntimeError("no luck")  # noqa: TRY003


KINDS = {
    "lines": lines, "calm": calm, "crash": crash, "deaf": deaf, "fork": fork, "beat": beat,
    "web": web, "job": job, "ears": ears, "trip": trip,
}  # fmt: skip


def main(kind: str) -> None:
    """Be a worker of this kind until it ends."""
    slot = Slot(most=2 if kind == "web" else 1)
    slot.obey_signals()
    KINDS[kind](slot)


if __name__ == "__main__":
    main(sys.argv[1])
