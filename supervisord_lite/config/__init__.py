"""The configuration: TOML in, frozen specs out, errors with line and column.

Theory of operation
===================

`load.load` reads one file and returns a `spec.Configuration` in which every default is filled in,
or raises one `errors.ConfigurationError` with everything that is wrong. It never changes anything.
It runs in `check`, and in `run` before that becomes the keeper, because it reads files and looks up
users; the daemon itself imports `spec` and `expand` only.

The way of a file::

    text        source.py     bytes -> text; an offset -> line and column
    tree        syntax.py     tomllib's tree, or one problem with a cause and a cure
    places      locate.py     key path -> offsets, by a scanner of our own over accepted text
    variables   variables.py  ${NAME} from the daemon's environment and `environment_file`
    nodes       tree.py       every value with the path it was written at; [defaults] merged in
    specs       worker.py, supervisor.py     a table becomes a `Spec` or `Settings`
                values.py     one value of one kind (duration, size, list of signals ...)
                words.py      did you mean; the words of supervisord, systemd and others

Rules where two meet
--------------------

* All problems of a file are told at once: a reader notes what is wrong, goes on with the default,
  and the load fails at the end. Only a syntax error stops the rest.
* A problem stands where the value was written, also when [defaults] handed it to a worker; there
  it is told once.
* Tables merge, everything else replaces: a worker's own key beats the one of [defaults]. `log =
  "x"` becomes `log.stdout = "x"` first, so that it merges too.
* The environment of a worker, later beats earlier: what `user` sets, `environment_file` in its
  order, `environment.*`.
* `${NAME}`: `[supervisor] environment_file` beats the daemon's own environment, which cannot change
  while it runs.
* Texts that were not typed for %i (the folder of the file, the folder of logs) are taken
  literally.
"""
