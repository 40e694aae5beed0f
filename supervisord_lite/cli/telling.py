"""Which of a program's last lines tell people most: its end, and the error that came before it."""

import re
from collections.abc import Sequence

#: What programs say when they give up: an exception of Python, Java, Ruby or JavaScript, a panic of
#: Go or Rust, a fatal error of C and databases.
_ERROR = re.compile(
    r"^[A-Za-z_][\w.:]*(?:Error|Exception)\b|^(?:panic|fatal error|FATAL|thread '.*' panicked)\b"
)


def telling(lines: Sequence[str], most: int) -> list[str]:
    """Return *most* lines: the last ones, and the latest error where it is none of these.

    A server whose worker dies of an exception says a good deal more before it ends itself.
    """
    last = list(lines[-most:])
    if any(_ERROR.match(line.strip()) for line in last):
        return last
    errors = [line for line in lines[:-most] if _ERROR.match(line.strip())]
    return [errors[-1], *last[1:]] if errors else last
