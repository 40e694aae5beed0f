"""A simulator: the real decisions, in a world that is only numbers.

Theory of operation
===================

One seed is one world. Everything in it happens in an order that the seed alone decides: there is
one heap of things to come, one clock that only the world moves, and one source of chance
(`engine.py`); so a failure is repeated, event by event, by its seed, and two processes that run one
seed get the same hash (`trace.py`). ``python -m tests.support.simulator whole 7 500`` runs seed 7.

Two speeds
----------

* `fast.py`: the pure core alone, against processes that are a few numbers. Millions of events.
* `whole.py`: the supervisor's fleet, outbox, orders, daemon state and adoption, and the keeper's
  table, with messages between them; the supervisor is killed between any two things that it does.

What is independent of what
---------------------------

`drawn.py` draws policies, behaviours and faults. Each seed switches a third of the faults off, so
that rare ones are not hidden behind common ones. The worlds know what really is (a process tree is
alive or not) and check what may never be done to it. `model.py` knows what a supervisor has been
told, and says from the documented rules alone what has to follow: the state that people see, every
request to the keeper, every line, every deadline; `order.py` says who must wait for whom. Both are
built of the program's words (events, policies, names of states) and of none of its decisions.

Safety is checked after every event. Liveness (`calm`): faults stop, programs are good, everybody is
wanted up: within a bound everybody is; then everybody is stopped, and within a bound nothing is
left. What goes round without time passing is a violation too.

Other configurations
--------------------

In the whole world people edit the file (`edits.py`: live keys, programs, log paths, sizes, pools,
ties), now and then it is bad, and children that read it answer late, crash or say nothing; SIGHUP
comes alone or twenty at once, and two people reload, ask what a reload would change, and scale.
`force.py` works out what has to be in force from the rules alone, and `switching.py` checks each
switch: it is the right one and one message; nobody is stopped, restarted or reset by it of whom
nothing has changed; whoever has no place is forgotten with the last of its tree; a successor finds
no mixture. When faults have stopped, a storm of SIGHUP and a death in it leave what the file says.

Jobs
----

Some pools have a schedule. In the fast world planned times come when chance likes, late, missed and
two at a time; in the whole one the real schedules plan them, over all deaths of supervisors.

What a world does not do yet has its place: a new kind of order is one more verb of `_person`, what
a reload tells a worker is in `FastWorld._reload`, a new promise is one more line where a world
checks what is at rest (`LivingWorld._check_rest`).

`mutants.py` breaks the program on purpose, one small change at a time: a change that no simulation
notices is a missing check.
"""
