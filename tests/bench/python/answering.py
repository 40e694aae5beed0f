"""The floor of an adoption: it starts and answers.    answering.py BIRTHS NAME PATH."""

# mypy: disable-error-code="import-not-found"

import socket
import sys
from contextlib import suppress
from pathlib import Path

from stamp import stamp

births, name, path = sys.argv[1:]
stamp(births, name)
with suppress(FileNotFoundError):
    Path(path).unlink()
with socket.socket(socket.AF_UNIX) as listening:
    listening.bind(path)
    listening.listen()
    while True:
        with listening.accept()[0] as client:
            client.sendall(b"here\n")
