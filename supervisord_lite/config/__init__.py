"""The configuration: TOML in, frozen specs out, errors with file, line and column.

Theory of operation
===================

`load.judge` reads a file and all that it includes and returns a `spec.Configuration` in which every
default is filled in, or raises one `errors.ConfigurationError` with everything that is wrong. It
never changes anything. It runs in `check`, in `run` before that becomes the keeper, and for the
daemon in a short-lived child (`__main__.py`, of which `loading.py` is the daemon's side), because
it reads files and looks up users. The daemon itself imports `spec`, `expand`, `loading`, and, to
compare two configurations key by key, `flat`, `plan` and `secrecy` only.

The way of a file::

    text        source.py     bytes -> text; an offset -> line and column
    tree        syntax.py     tomllib's tree, or one problem with a cause and a cure (slips.py)
    places      locate.py     key path -> offsets, by a scanner of our own over accepted text
    files       files.py      what is included, in the order of force
    variables   variables.py  ${NAME} from the daemon's environment and `environment_file`
    nodes       tree.py       every value with its file and the path it was written at
    keys        keys.py       unknown keys; those of later versions (later.py, shapes.py)
    specs       worker.py     each worker over what it extends over [defaults], as a `Spec`
                policy.py, launch.py, supervisor.py     the parts of a spec, and the `Settings`
                privileges.py      capabilities by name
                secret_keys.py     where secrets are kept, and whether well
                split.py      a command in one text
                values.py     one value of one kind (duration, size, list of signals ...)
                weigh.py      what the kernel and the daemon could not pass on
                order.py      `requires` and `after`: names that exist, and no circles
                words.py      did you mean; the words of supervisord, systemd and others
    doubts      doubts.py     warnings; unused.py: keys that another one leaves without effect;
                guarded.py    who else can change what root reads

and back: `flat.py` names every key with its value, `effective.py` writes them as a file, `show.py`
one worker with its origins, `plan.py` what differs between two, both without what `secrecy.py`
takes for a secret; `secret_digests.py` tells a secret that has changed; `rewrite.py` changes one
value in a file of people, and `turns.py` lets one command do that after the other.

`reference.py` tells people what each key is for: a new key needs its text there.

Rules where two meet
--------------------

* All problems of all files are told at once: a reader notes what is wrong, goes on with the
  default, and the load fails at the end. A syntax error hides the rest of its own file only; then,
  and wherever a base is missing, keys are judged one by one (`Reader.alone`), for what several
  mean together is not known.
* A problem stands where the value was written, also when [defaults] or a base handed it to a
  worker; there it is told once.
* Tables merge, everything else replaces. Files first, in the order of force, key by key; then a
  worker over the one that it extends, that one over its own base, and the last over [defaults].
  `log = "x"` becomes `log.stdout = "x"` first, so that it merges too.
* A worker stands where it was written first: that is its origin, and its folder is the default
  directory. A path is read from the folder of the file that it is written in.
* `extends` and `enabled` are a worker's own: a base that is switched off switches nobody else off.
* `after` and `requires` of [defaults] do not hold for the worker that they name. One may start
  after a worker that is switched off, and not require it.
* A worker that is switched off is judged like [defaults], each key alone, and its users and files
  are not looked up: it may be for another machine.
* The environment of a worker, later beats earlier: what `user` sets, `environment_file` in its
  order, `environment.*`.
* `${NAME}`: `[supervisor] environment_file` beats the daemon's own environment, which cannot change
  while it runs. That key stands in the first file only, for it may name the files to include.
* A text with `${NAME}` may spell a number or a truth value where one is wanted: `variables.Filled`.
* Texts that were not typed for %i (the folder of the file, the folder of logs) are taken
  literally.
"""
