"""Names of signals, for people.

A table and not `signal.Signals`, because the core imports nothing that can touch the world.
"""

# Source: signal(7), the numbers of x86, ARM and most others (not MIPS, SPARC, PA-RISC).
_NAMES: tuple[str, ...] = (
    "SIGHUP", "SIGINT", "SIGQUIT", "SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE",
    "SIGKILL", "SIGUSR1", "SIGSEGV", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGTERM", "SIGSTKFLT",
    "SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGXCPU",
    "SIGXFSZ", "SIGVTALRM", "SIGPROF", "SIGWINCH", "SIGIO", "SIGPWR", "SIGSYS",
)  # fmt: skip

_RT_MIN = 34  # as libc counts: 32 and 33 are its own
_RT_MAX = 64


def name_of(number: int) -> str:
    """Return what people call signal *number*: "SIGKILL", "SIGRTMIN+3", or "signal 99"."""
    if 1 <= number <= len(_NAMES):
        return _NAMES[number - 1]
    if _RT_MIN <= number <= _RT_MAX:
        return "SIGRTMIN" if number == _RT_MIN else f"SIGRTMIN+{number - _RT_MIN}"
    return f"signal {number}"


def describe_end(code: int | None, signal: int | None) -> str:
    """Return how a process ended: "exit 1", "SIGSEGV", or "unknown" when nobody saw it."""
    if signal is not None:
        return name_of(signal)
    return "unknown" if code is None else f"exit {code}"
