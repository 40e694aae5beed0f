"""The supervisor: all policy, one thread, one selector, and it may die at any moment.

Theory of operation
===================

::

    keeper ──facts──▶ Fleet.take_fact ─┐                    ┌─▶ saves + requests ──▶ keeper
    clients ─calls──▶ Verbs ───────────┼─▶ core.fleet ──────┤
    time ──deadline─▶ Fleet.fire_due ──┘                    └─▶ log lines, waiting clients, STATUS=

Everything that happens becomes an event for one worker, the core says what it means for that one
and for whoever had to wait for it, and one place (`outbox.py`) sends what follows. Nothing here
blocks: no regular files, no name look-ups; logs go through a pipe that drops rather than waits.

What is about thousands is one step all the same, and may take a second. A turn that takes its time
looks up from its work: who only asks is answered, pings too, and everybody else waits
(`in_between.py`).

Dying is normal
---------------

* A worker's record and the requests that follow from it travel in one message, so the keeper has
  both or none. Each record carries the number of the last fact in it ("seen"): a fact that is
  delivered again after a crash is recognised and skipped.
* A new supervisor (`adoption.py`) takes the records, replays the facts that nobody had applied, and
  compares with the inventory: a spawn that was asked for and never arrived is asked for again.
* Specs in force come from the saves, never from the file. A reload (`reload.py`) lets a child read
  the file, and changes specs, records and requests in one message (`changeover.py`).
* A worker whose spec has changed ends its run by the policy that it was started with; that one is
  in its record until a new run goes by the new one.
* A worker that the file has no place for any more is *leaving*, and forgotten when nothing of it is
  left; only the number of its latest run is kept (`gone.py`), so that none is ever used twice.
* What the daemon as a whole is doing (booted, ready, stopping, with which verdict) is one more
  record, and so is each roll. Order among workers needs none: who waits is in the worker's own
  record, and for what follows from how the others are.
* What a run uses is known only while somebody asks (`samples.py`: a child looks), and is forgotten
  with the supervisor. Which run has had its share (`recycling.py`) follows from records, from what
  the keeper keeps, and from another look; that it gives way is a roll, and saved as one.
* An escalation (`escalation.py`) is saved with its reason before anybody is stopped for it, so the
  next supervisor goes on with it and ends with the same exit status.
* What the next service would begin with, if the keeper died, stands in a file (`carry.py`).
* Who is asked whether it works (`health.py`, `probes.py`), and how it has answered so far, is known
  to one supervisor only: the next one counts anew.
* Other code takes over as after a crash (`upgrade.py`), when it has understood a copy of the state
  in a dry start (`trial.py`). A keeper that speaks another protocol is replaced before anything
  else is said to it (`other_keeper.py`).
* What happened stands in the event journal (`events.py`): told in the message of the record that it
  follows from, so never lost or doubled. Questions about it are answered by a child (`stories.py`).

Clients (`verbs.py`, `configuration_verbs.py`) lose their connection when the supervisor dies; what
they ordered was saved with the first step and goes on.
"""
