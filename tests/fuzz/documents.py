"""TOML that nobody would write: each key of the configuration, each form of TOML, then damaged.

Three kinds: lines of files that people have (the examples that are shipped, a shop's); tables made
of all keys that there are, with values that fit or do not; and texts of the whole grammar of TOML
that are no configuration. Most are then cut, doubled or swapped by lines and words, as editors,
merges and people do it.
"""

import random  # noqa: TID251  # seeded, and the seed is printed
from functools import cache
from pathlib import Path

from supervisord_lite.config.reference import every, example_of
from tests.fuzz.mutate import packed, scratched

_CHECKOUT = Path(__file__).parents[2]
MAIN = """\
# Everything a box may have.
[supervisor]
state_dir = "state"
log_dir = '/var/log/x'
log_level = "debug"
include = ["inc*.toml", "${HOME}.toml"]
environment_file = ["-none.env", "some.env"]
[control]
operate = ["@root"]
read = "*"
[defaults]
after = ["log"]
log.max_size = "100M"
log.backups = 14
environment.LANG = "C.UTF-8"
[worker.app]
enabled = false
user = "root"
directory = "/srv"
environment = { A = "1", "B C" = 'two', D = false }
[worker.log]
command = ["/usr/bin/vector", "--config", '/etc/é.toml']   # a comment [
restart = "always"
log = "null"
nice = 10
[worker.web]
extends = "app"
command = "gunicorn shop.wsgi -w 4 --bind 0.0.0.0:%{8000..}"
pool_size = "${N}"
requires = ["log"]
stop_signal = ["SIGTERM", "SIGRTMIN+3"]
stop_timeout = ["10m", 30.5]
limits.nofile = 65_536
limits.memory = "2G"
log.stdout = "out/web-%i.log"
backoff.min = "100ms"
[worker.migrate]
extends = "app"
command = [
    "python",  # "
    "-c",
    \"\"\"
import x
print("[worker.b]")\"\"\",
]
ready = "exit"
run_timeout = "15m"
ok_exit_codes = [0, 3]
umask = 0o027
"""
INCLUDED = """\
[worker.web]
environment.LOG = "DEBUG"
[worker."quoted-name"]
command = ["sleep", "1d"]
[worker.web.limits]
core = "unlimited"
"""
VARIABLES = "N=3\nexport A=\"b\\n\"\n# no\nB='c d'\nC = x\nD=\n"

_HEADERS = (
    "[worker.a]", "[worker.web]", "[worker.b-1]", "[worker.a.log]", "[worker.a.x]", "[[worker.c]]",
    "[defaults]", "[supervisor]", "[control]", "[worker]", "[nope]", "[worker.all]", "[work]",
    "[queue.a]", "[agent.a]", "[queue]", "[[agent]]", "[worker.a.health]", "[worker.b.sockets.x]",
    "[defaults.backoff]", "[worker.a.environment]", '[worker."q u"]', "[ worker . d ]",
)  # fmt: skip
_FOREIGN = (
    "autorestart", "numprocs", "startsecs", "ExecStart", "Restart", "agent", "container", "queue",
    "nope", "budget.usd", "command.x", "retry_delays", "price", "pol_size", "environment.A.B",
    "stop_timout", "log", "backoff", "limits", "schedule", "health", "sockets", "secrets", "config",
    "environment", "recycle", "é", '""', "'a b'", '"\\u00e9"', "a.b.c.d", "1",
)  # fmt: skip
_VALUES = (
    "1", "-1", "0", "1.5", "nan", "inf", "true", "false", '""', '"x"', '"10s"', '"0s"', '"a/b"',
    '"a.log"', '"inherit"', '"null"', '"journal"', '"SIGTERM"', '["SIGTERM", "SIGINT"]', "9" * 30,
    '["1s", "2s"]', "[]", "[[]]", "[1, 2]", "{}", "{ x = 1 }", '{ min = "1s" }', "[{ a = 1 }]",
    "1979-05-27", "07:32:00", '"\\u0000"', '"${HOME}"', '"${NOPE}"', '"${"', '"%i.log"', '"always"',
    "0o22", '"022"', '"a"', '["a", "b"]', '"all"', '"*"', '["@root", "nobody"]', '"workers.toml"',
    '"*.toml"', '"a.b:C"', '"* * * * *"', '"0 0 31 2 *"', '"*/5 1-3,7 * * mon"', '"file:/x"',
    '"http://x/y"', '{ listen = "x:1" }', '"${HOME:-1}"', '"${N}"', f"0x{'f' * 5000}", '"it\'s"',
    '"a | b"', '"é\\u001b[31m"', '"unlimited"', '"64K"', '"root"', '"127.0.0.1:80"', '"unix:/x"',
    '"[::1]:0"', '"systemd:x"', '"private"', '"fd:3"', '"credential:x"', "0xffffffffffffffffffff",
    '"%{8000..}"', '"localhost:99999"', '"every 5m"', '"Europe/Vienna"', "'''a\nb'''", "1e400",
    '"a..b:80"', '"é..x:80"', '"http://a..b/x"', f'"{"x" * 70}:80"', f'"http://{"x" * 70}/"', '"@"',
    '"%i:80"', '"http://[::1]:x/"', '"http://own:/x"', '"probe:/healthz"', '"unix:"', '"unix:%i"',
    '"\\u0000:80"', '"127.0.0.1:%{8000..}"', '["env", "${A}"]', '"0 0 1 1 *"', '"@daily"',
    '"CREDENTIALS_DIRECTORY"', '"../../x"', '"/"', '"."', '"~"', '["a"] # ]', '"1e3s"', '"0x10"',
    '"\U0001f4a9"', '["--", "' + "a" * 3000 + '"]', '"CAP_NET_BIND_SERVICE"', '"1h30m"', '"2G"',
)  # fmt: skip
BITS = (
    b'"', b"'", b'"""', b"'''", b"[", b"]", b"[[", b"]]", b"{", b"}", b"=", b".", b",", b"#",
    b"\n", b"\r\n", b"\r", b"\t", b"\\", b"\\u0000", b"\\U0001F4A9", b"\\x41", b"\\e", b"${N}",
    b"${", b"${NOPE}", b"%i", b"%{00..}", b"true", b"nan", b"1e9", b"0x", b"1979-05-27", b"-",
    b"\xc3\xa9", b"\0", b"\x7f", b"\xef\xbb\xbf", b"\xe2\x80\xae", b"\xff", b"[worker.web]\n",
    b"a.b = 1\n", b"x = {\n", b"include = 'main.toml'\n", b"extends = 'web'\n", b"9" * 5000,
    b"[" * 200, b"a." * 200, b"{a=" * 120, b"[worker.a]\nextends = 'b'\n", b",\n}", b"  # \n",
)  # fmt: skip


@cache
def _stock() -> tuple[list[str], ...]:
    """Return the lines of each file that is good, those that are switched off switched on."""
    files = [*(_CHECKOUT / "config").glob("*.toml"), *(_CHECKOUT / "tests").rglob("*.toml")]
    texts = [path.read_text() for path in sorted(files)] + [MAIN, INCLUDED]
    found = [text.splitlines() for text in texts]
    return *found, [line[1:] if line[:1] == "#" and " = " in line else line for line in found[1]]


@cache
def _keys() -> tuple[tuple[str, str, str], ...]:
    """Return table, name and a good value of each key that there is."""
    return tuple(
        (group.table, *example_of(key).split(" = ", 1))  # type: ignore[misc]
        for group, key in every()
        if " = " in example_of(key)
    )


def fragment(rng: random.Random) -> bytes:
    """Return some lines of a file that people have."""
    lines = rng.choice(_stock())
    start = rng.randrange(len(lines))
    return "\n".join(lines[start : start + rng.choice((3, 8, 8, 15, 30))]).encode() + b"\n"


def tables(rng: random.Random) -> bytes:
    """Return tables made of the keys that there are."""
    lines = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        header = rng.choice(_HEADERS)
        lines.append(header)
        where = header.strip("[] ").partition(".")[0]
        if where == "worker" and rng.random() < 0.7:
            lines.append('command = ["sleep", "1"]')
        fitting = [key for key in _keys() if key[0] == where] or _keys()
        for _ in range(rng.choice((0, 1, 2, 4, 7))):
            _, name, value = rng.choice(fitting if rng.random() < 0.9 else _keys())
            name = rng.choice(_FOREIGN) if rng.random() < 0.1 else name
            value = rng.choice(_VALUES) if rng.random() < 0.5 else value
            lines.append(f"{name} = {value}")
    return "\n".join(lines).encode() + b"\n"


def grammar(rng: random.Random) -> bytes:
    """Return a text of the whole grammar of TOML, which need not be good as a whole."""
    text = ""
    for _ in range(rng.choice((1, 2, 4, 8))):
        key = ".".join(_key(rng) for _ in range(rng.choice((1, 1, 1, 2, 3))))
        kind = rng.random()
        if kind < 0.25:
            text += f"[{_space(rng)}{key}{_space(rng)}]"
        elif kind < 0.35:
            text += f"[[{key}{_space(rng)}]]"
        else:
            text += f"{_space(rng)}{key}{_space(rng)}={_space(rng)}{_value(rng, 3)}"
        text += rng.choice(("\n", "\n", "\r\n", "  # a = [\n", "\n\n# é\n", " \t\n"))
    return text.encode()


def _space(rng: random.Random) -> str:
    return rng.choice(("", "", " ", " ", "\t", "   "))


def _key(rng: random.Random) -> str:
    bare = rng.choice(("a", "b", "c", "d", "-", "_9", "1", "true", "worker", "web", "x-y"))
    return rng.choice(
        (bare, bare, bare, f'"{bare} "', f"'{bare}.'", '"\\u00e9"', '""', '"a\\"]"', "'[x]'")
    )


def _value(rng: random.Random, depth: int) -> str:
    kind = rng.randrange(12 if depth else 9)
    if kind < 3:
        return rng.choice(
            ("1", "-0", "+1_000", "0xff", "0o7", "0b1", "1.5", "1e3", "-inf", "nan", "true",
             "false", "1979-05-27", "07:32:00", "1979-05-27 07:32:00", "0.1e-5", "9" * 20,
             "1979-05-27T07:32:00.5-07:00", "1979-05-27T07:32:00Z", "13:00:00.999999999")
        )  # fmt: skip
    inner = "".join(
        rng.choice(("x", "é", "\\\\", '\\"', "\\u00e9", "#", "]", "[a]", "=", ",", " ", "}", "''"))
        for _ in range(rng.randrange(5))
    )
    if kind < 6:
        return f'"{inner}"' if kind < 5 else "'" + inner.replace("'", "") + "'"
    if kind == 6:
        begin, end = rng.choice(("", "\n", '"', '""')), rng.choice(("", "\\\n", " "))
        return f'"""{begin}{inner}{end}"""'
    if kind == 7:
        begin, end = rng.choice(("", "\n", "'", "''")), rng.choice(("", "'", "''"))
        return f"'''{begin}{inner}{end}'''"
    if kind == 8:
        return rng.choice(('""', "''", '""""""', "''''''", '"""""""', "''''''''"))
    items = [_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 9:
        pairs = (f"{_key(rng)}{_space(rng)}={_space(rng)}{item}" for item in items)
        return "{" + ",".join(f"{_space(rng)}{pair}{_space(rng)}" for pair in pairs) + "}"
    blank = rng.choice(("", " ", "\n", " # [,\n", "\r\n\t"))
    return f"[{blank}" + f"{blank},{_space(rng)}".join(items) + rng.choice((f"{blank}]", "]", ",]"))


def _by_lines(data: bytes, rng: random.Random) -> bytes:
    """Swap, double or drop lines or words of *data*."""
    by = rng.choice((b"\n", b"\n", b" "))
    parts = data.split(by)
    for _ in range(rng.choice((1, 1, 2))):
        one, two = rng.randrange(len(parts)), rng.randrange(len(parts))
        match rng.randrange(3):
            case 0:
                parts[one], parts[two] = parts[two], parts[one]
            case 1:
                parts.insert(two, parts[one])
            case _ if len(parts) > 1:
                del parts[one]
    return by.join(parts)


def document(rng: random.Random) -> bytes:
    """Return the content of one file."""
    made = rng.choice((fragment, tables, tables))(rng)
    if rng.random() < 0.05:
        made += fragment(rng) + tables(rng)
    return _maybe_damaged(made, rng)


def text(rng: random.Random) -> bytes:
    """Return a text of TOML, whatever it is about."""
    made = rng.choice((fragment, tables, grammar, grammar, grammar))(rng)
    return _maybe_damaged(made, rng) if rng.random() < 0.6 else made


def _maybe_damaged(made: bytes, rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.35:
        return made
    if kind < 0.6:
        return _by_lines(made, rng)
    return scratched(made, (made, MAIN.encode(), INCLUDED.encode()), BITS, rng)


def files(rng: random.Random) -> bytes:
    """Return a main file, one that it may include, and a file of variables, packed."""
    main = document(rng)
    if rng.random() < 0.3:
        beginning = '[supervisor]\ninclude = "inc*.toml"\nenvironment_file = "some.env"\n'
        main = beginning.encode() + main
        variables = scratched(VARIABLES.encode(), (main,), BITS, rng)
        return packed(
            [main, document(rng), VARIABLES.encode() if rng.random() < 0.5 else variables]
        )
    return packed([main])
