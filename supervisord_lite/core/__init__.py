"""The core: what one event means, for one worker and for all. Pure; it touches nothing.

Theory of operation
===================

``step(worker, event, now_s, rng) -> (worker, actions)`` is the only entrance to one worker
(`step.py`); `fleet.py` steps all of them, and has the rules among them. A `Worker` is one slot
(pool and index) with its state, counters and policy. Events are what happened (past participles),
actions are what to do (imperatives). Whoever calls performs the actions and feeds their results
back as events; nothing here waits, retries or reads a clock. A worker that did not change is
returned itself, so ``moved is worker`` tells that there is nothing to save.

Identity is (pool, index, run). ``run`` counts up with each start of a slot and is never used
again, so an answer that belongs to an older run is recognised and ignored.

States (`states.py`), and what each waits for::

    stopped    for a start. By hand, or never started (autostart = false).
    waiting    for its turn: for what it requires, or comes after.
    scheduled  for its planned time: a job between two runs. People read "waiting".
    starting   spawn asked for; then alive, but not ready yet.
    running    ready.
    stopping   an end is on its way: signals of the stop ladder, then SIGKILL to the tree. Also a
               worker that ended by itself while processes that it left behind are being killed.
    backoff    for the restart's time.
    tripped    breaker open: for `reset`, a changed spec, or the cooldown.
    probing    half-open: one start on trial.
    exited     finished, and the policy says leave it.

``NEXT`` (`states.py`) is the table of legal moves; `step` asserts it and README's diagram is
printed from it.

What else is decided here: when a run is asked whether it works and when it does not (`probing.py`),
when it has had its share (`recycle.py`), what planned times mean for a job (`schedule.py`,
`jobs.py`), who is replaced next (`roll.py`) and how two runs of one slot go together meanwhile
(`swap.py`), how many there are (`scale.py`), what one life of the service leaves to the next
(`carry.py`), and who waits for whom when two things are wanted at once (`meetings.py`).

Rules where two meet
--------------------

* A slot has at most one process tree, and one more while a new run takes over from the old one
  (`swap.py`). Else a new run is spawned only when the old run's tree is empty: whoever ends while
  others of its tree live stays `stopping` until the keeper says `Emptied`.
* The last order of a person wins: a start during `stopping` starts again afterwards, a stop during
  `backoff`, `starting` or a restart ends in `stopped`. Nothing undoes a shutdown.
* A start does not close the breaker: a tripped worker stays tripped, and a failure that is still
  being cleared away when a person says start is counted first, and may trip. Stop and start brings
  a tripped worker up, with its failures: the next one inside the window trips again.
* While stopping on demand every exit is clean; its status is recorded, never counted.
* A failure is an end that nobody asked for without an ok exit code, a failed spawn or set-up
  stage, a missed deadline (not ready in time, a run that lasts too long), or the word of somebody
  who can know (`JudgedFailed`: heartbeat, health). It is counted when it is decided, once, at the
  time it happened. Ready comes by age, by word (`ReadySaid`), or, for one-shots, by an ok exit:
  those are `starting` until they have ended, and only `run_timeout` is their limit.
* Whoever may not start yet is `waiting`, with what will follow; whoever may not stop yet is
  `stopping` without a signal sent. Both are decided at one place (`gates.py`), when the start or
  stop is due, and again with each `GateMoved`. A failed worker does not wait to be ended.
* The breaker counts failures inside a sliding window; the `max_restarts`-th trips it. A run of at
  least `stable_run_period` starts the backoff sequence again, but does not forget failures. Under
  restart = "never" failures are counted and shown, and trip nothing; what no retry can heal trips
  under every policy.
* A start on trial ends well when it has lasted `stable_run_period` and is ready, or ended with an
  ok exit code: the failures are forgotten. Any failure opens the breaker for the same cooldown. A
  reset, or a restart by a person, ends the trial: from then on it is a start like any other.
* What was due before an end comes before that end, also when the wake-up is late: a run that lasted
  long enough had been ready, or had proved itself, whether or not somebody looked.
* Deadlines are data: `next_deadline_s(worker)`; a `DeadlinePassed` that comes early changes
  nothing, so late and doubled wake-ups are harmless.
* Times are one monotonic scale, shared by all processes of a boot. An event may carry a time
  slightly before one already seen (a fact waits in a queue); no rule depends on order of times.
"""
