"""The wire: bytes to messages and back. Nothing here reads, writes, waits or knows a clock.

* `channel`: messages between the daemon's own processes (keeper, supervisor, scribe), one JSON
  object in one packet of an AF_UNIX SOCK_SEQPACKET socket.
* `varlink`: messages of the control socket, JSON objects that a NUL byte ends.
* `http_probe`: one request to a worker that is asked whether it works, and what its answer is
  worth.
* `errors`: what is raised for bytes that are not a message.

The always-running processes import this package, so it stays small.
"""
