"""The keeper: main process, parent of everything, and too small to fail.

Theory of operation
===================

One thread, one epoll, the standard library only. It decides nothing that a configuration could
change; it holds what must not be lost when a cleverer process dies.

What it owns, and for how long
------------------------------

* **Runs** (`table.py`). A run is one life of one slot: (pool, index, run). The keeper is the
  parent of its leader, so nobody else can signal a wrong pid or lose an exit status. A run is
  *setup* (forked, set-up stages still going), *live*, *ended* (leader reaped) and then *empty*
  (nothing of its tree is alive); it is forgotten when the supervisor has applied its last fact.
* **Facts** (`table.py`). Everything the supervisor must hear exactly once is a numbered fact:
  spawned, spawn_failed, said, extended, judged, exited, emptied, signalled. A fact stays in the
  table until a message of the supervisor says "applied up to n".
* **Voices** (`voices.py`). Notification sockets and ready pipes of workers: what they say of
  themselves becomes facts, or unnumbered words where the latest is enough.
* **Sockets of workers** (`listeners.py`): opened with the first process that wants one, and held
  until no worker in force has it. Private ones (`privates.py`) are made for one process, and are
  held by that one only.
* **Probes** (`probes.py`): programs that say whether a run works, each a small tree of its own that
  never outlives the run, nor the supervisor that had asked.
* **Saves** (`table.py`). Opaque texts by key, written by the supervisor in the same message as the
  actions that follow from them, so that the two are atomic: a supervisor that dies has either said
  both or none.
* **Streams** (`streams.py`). The read ends of workers' output pipes, shared with the scribe. A pipe
  is closed here only when the scribe says that it has been read to its end.
* **Orders** (`supervisor_side.py`). What the supervisor has said and there was no time for yet:
  thousands of starts are done in slices. Its successor finds them in the handover as asked for.
* **Events** (`events.py`). Lines of the event journal that the supervisor has said, until they are
  in a pipe to the scribe.
* **The daemon's own processes** (`children.py`; the talk with each in `supervisor_side.py` and
  `scribe_side.py`): supervisor and scribe, started when they die.
* **Places** (`places.py`): the names of the control socket, the locks and their folders. What is
  deleted under the daemon is made again.
* Listening sockets, locks and the scribe's memory, inherited from `run` and handed on.

What happens when something is killed here
------------------------------------------

* *The supervisor dies.* Its channel is read to the end, through ECONNRESET: what it had said still
  counts. A new one gets a handover (a memfd with saves, unapplied facts and the inventory of runs)
  and the same listening socket, whose backlog held the clients meanwhile. Workers notice nothing.
  Waits 10 ms, doubled each time up to 1 s, between starts; a death counts only before the first
  answered round trip; after ten in a row all workers are stopped and the daemon ends with 70.
* *It hangs.* A round trip (ping, pong) is asked for when systemd's watchdog needs one, when facts
  are told, when a client connects, and when it overslept: it says when it means to wake. Without an
  answer for `HANG_S`, or a third of systemd's patience, it is killed and replaced, unless its
  process is runnable and merely starved (the second witness is its CPU time). When the keeper
  itself was stopped, nobody is late: the clock begins again.
* *The scribe dies.* A new one gets the memory with the intent record and every open stream again.
  If ten in a row die of their own doing (not by a signal from outside) before they answer, the
  memory is what kills them, and it is replaced: one chunk may be lost, but not all logs for ever.
  *It hangs* in a disk call (frozen file system): nothing here waits for it.
* *A signal comes to the keeper itself.* It becomes a fact, so that a SIGTERM is not lost while no
  supervisor lives.
* *The keeper dies.* Under systemd the unit ends and starts afresh (KillMode=mixed). Supervisor and
  scribe see the end of their channels and leave. Workers live on elsewhere, until the next `run`
  ends them: it finds them by what is written down here, in memory, for each start (`traces.py`).
  What it cannot end keeps its slot from starting (`held.py`).

Starting a command (`spawn.py`)
-------------------------------

Plain commands start by vfork (posix_spawn): the keeper steps into the run's own cgroup, into its
directory and umask, spawns, and steps back; with one thread nobody can see it there, and the new
process is never outside its cgroup. Where a user, a niceness, an rlimit, a privilege or a secret is
set, the keeper forks and a few lines of Python run the named set-up stages, read its secrets
(`secret_stage.py`) and give up what it shall not have (`privileges.py`); a pipe that closes on exec
brings the name of the stage that failed. A spawn request that arrives twice starts one process.

Forks of a warm interpreter (`forkservers.py`)
----------------------------------------------

Pools of Python workers are forked from an interpreter that has imported once. It is a child of the
keeper like any other, and so is each fork, before a line of its target has run: it waits at a gate
(`gates.py`) until it stands in the table. What both ways of a start need (pipes, voice, sockets,
cgroup) is made in `starts.py`. A forkserver that dies takes nobody with it, and is built again when
it is needed. What it and its forks say is the word of code that is not ours (`fork_words.py`). A
fork that was asked for and has not come is in the inventory: until it has, or has failed, its run
is not gone.

Ending a tree (`trees.py`)
--------------------------

When a leader ends, what is left of its tree is killed at once, and "emptied" is said when nothing
is alive. With a cgroup that is exact (cgroup.kill; rmdir succeeds only on an empty cgroup).
Without one the keeper is still the subreaper: when a leader is gone every survivor of its tree has
become the keeper's child, or hangs below one, and is recognised by the marker in its environment,
by its session or by the descendants recorded at the stop; each is verified again through a pidfd
before the signal. A process that cleared its environment, made its own session and double-forked
before the stop can escape until the daemon itself ends.

Other code in place of this (`upgrade.py`)
------------------------------------------

Which code the daemon's own processes are started from is known here, because here they are started.
The supervisor lets other code be tried on a copy of the state (`trial.py`), and orders it to be put
in force: supervisor and scribe make room, and are started anew of that. The code before is
remembered until both have answered, and a minute longer. Two deaths of one of them before its
answer bring it back, long before the ten that end the daemon; three in the minute behind it, too.

Where the keeper itself must be of the other code, too, it re-executes itself before it starts the
two (`succession.py`; `entrance.py` is where it begins, anew or not): pid, children, descriptors and
pending signals stay what they are, and everything that stands in its tables goes on in a memory
file. Each part packs its own and says which descriptors go with it; what is under way (set-up
stages, starts by a forkserver, trees that are cleared) goes on where it was. Unpacking does nothing
that could be seen, so that code that cannot go on with a state makes way for the code of before,
with the same state (`way_back.py`). Once.
"""
