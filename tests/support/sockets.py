"""A server behind the sockets of workers, and those who ask it: what many tests begin with."""

import http.client
import json
import socket
import threading
from collections import Counter
from typing import Self

from tests.support.programs import PYTHON

#: Answers each connection with its pid and what it was given, one after the other.
SERVER = """
import json, os, signal, socket, sys
own = socket.socket(fileno=int(sys.argv[1]) if len(sys.argv) > 1 else 3)
is_over = []
signal.signal(signal.SIGTERM, lambda *_: is_over.append(1))
about = {name: value for name, value in os.environ.items() if name.startswith("LISTEN_")}
while not is_over:
    own.settimeout(0.05)
    try:
        client, _ = own.accept()
    except TimeoutError:
        continue
    client.sendall(json.dumps({"pid": os.getpid(), **about}).encode())
    client.close()
"""


def server(name: str, *arguments: str, **keys: str) -> str:
    command = [*PYTHON, SERVER, *arguments]
    text = "".join(f"{key.replace('__', '.')} = {value}\n" for key, value in keys.items())
    return f'[worker.{name}]\ncommand = {json.dumps(command)}\nready = "100ms"\n{text}'


def free_port(host: str = "127.0.0.1") -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, 0))
        port: int = listener.getsockname()[1]
        return port


def ask(address: tuple[str, int] | str) -> dict[str, str]:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    if isinstance(address, tuple) and ":" in address[0]:
        family = socket.AF_INET6
    with socket.socket(family) as client:
        client.settimeout(10)
        client.connect(address)
        data = b""
        while piece := client.recv(4096):
            data += piece
    answer: dict[str, str] = json.loads(data)
    return answer


class Load:
    """Asks again and again from some threads, and counts what came of it."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.outcomes: Counter[str] = Counter()
        self.pids: set[int] = set()
        self._address = address
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                self.pids.add(int(ask(self._address)["pid"]))
                self.outcomes["answered"] += 1
            except (OSError, ValueError) as error:
                self.outcomes[type(error).__name__] += 1


def get(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def status_of(port: int, path: str) -> int:
    return get(port, path)[0]
