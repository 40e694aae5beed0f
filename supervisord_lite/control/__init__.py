"""The control socket: how people, scripts and systemd's own tools talk to the daemon.

Theory of operation
===================

The protocol is varlink: JSON objects ended by NUL over a unix stream socket, self-describing,
streaming with `more`. The definition of the interface, `io.supervisordlite.Manager.varlink`, is the
contract; it is served as it stands by `org.varlink.service`.

* `server`      accepts, judges peers, keeps the bounds and the deadlines.
* `connection`  one client: framing, order of calls, output that has not left yet.
* `calls`       one request, as whoever handles it sees it.
* `parameters`  types of parameters, for whoever handles a call.
* `interface`   names and texts of the interfaces.
* `client`      the blocking client behind the command; never imported by the daemon.
* `errors`      what the client raises, with the exit codes.

Server
------

No thread and no loop of its own: the supervisor's loop calls back when a descriptor is ready and
asks `next_deadline_s`; nothing here blocks. A peer is judged by its credentials at accept, before a
byte of it is read, and again when the lists of rights change. Of one connection one call is in
flight at a time and the next is begun only when the answer to the last has left, so that pipelined
requests are answered in order and what is buffered stays small. A call that waits (a start that is
not ready yet) holds its connection and nothing else; what was ordered goes on when the client hangs
up.

Bounds, so that no client can stop supervision::

    one request               64 KiB, complete within 5 s of its first byte
    answers not yet taken     8 MiB a connection, some of it taken every 5 s
    connections               256; then the one without a call that has been silent longest gives
                              way to who comes and may as much; whoever may less gives way in
                              any case, and of those who may everything none is accepted while
                              there is no such place
    accepts, calls            64 and 16 in one turn of the loop
    no descriptors left       nobody is accepted for 1 s

A connection that is broken or too slow is closed from `expire`, never from inside `Call.reply`:
whoever replies to many waiters in a row need not expect `on_hang_up` in between.

Client
------

The listening socket belongs to the keeper and outlives a supervisor. A connection that drops
without an answer means that the supervisor was replaced: methods that may be said twice are said
again for up to 5 s, the others end with a message that says so. A restart may be said twice when
it carries the time of a look before it: what was ordered is saved in the same step as it is done,
so a run that began after that time is the one that was ordered, and is only waited for.
"""
