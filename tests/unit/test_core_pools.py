"""The order among pools: computed for any graph, and never a trap."""

from supervisord_lite.core.pools import Graph
from tests.support.core_fleet import a_pool


def test_the_start_order_is_that_of_the_file_but_for_what_must_come_first() -> None:
    """Nobody comes before what it waits for."""
    graph = Graph(
        [a_pool("web", requires=["db"]), a_pool("x"), a_pool("log"), a_pool("db", after=["log"])]
    )
    slots = [("x", 2), ("web", 1), ("db", 1), ("x", 1), ("log", 1)]
    order = [("log", 1), ("db", 1), ("web", 1), ("x", 1), ("x", 2)]
    assert graph.in_start_order(slots) == order
    assert graph.in_stop_order(slots) == order[::-1]


def test_what_is_ahead_and_behind_is_known_through_others() -> None:
    """Both kinds of order count; only one kind is required."""
    graph = Graph([a_pool("a"), a_pool("b", after=["a"]), a_pool("c", requires=["b", "a"])])
    assert graph.ahead_of("c") == ("a", "b")
    assert graph.behind("a") == ("b", "c")
    assert graph.required_by(["c"]) == {"a", "b"}
    assert (graph.requires["b"], graph.after["b"]) == ((), ("a",))
    assert not Graph([a_pool("a")]).has_ties("a")


def test_names_that_are_not_there_and_a_name_s_own_count_for_nothing() -> None:
    """A pool that a reload removes, or `after` in [defaults], leaves nobody waiting for ever."""
    graph = Graph([a_pool("log", after=["log"]), a_pool("web", after=["log"], requires=["gone"])])
    assert graph.ahead_of("web") == ("log",)
    assert graph.required_by(["web"]) == set()
    assert graph.ahead_of("log") == ()


def test_a_pool_that_is_both_required_and_after_is_required() -> None:
    """The stronger word wins."""
    graph = Graph([a_pool("db"), a_pool("web", requires=["db"], after=["db"])])
    assert (graph.requires["web"], graph.after["web"]) == (("db",), ())


def test_only_the_edge_that_closes_a_cycle_counts_for_nothing() -> None:
    """The others keep their order."""
    graph = Graph(
        [a_pool("a", after=["b"]), a_pool("b", after=["c", "x"]), a_pool("c", requires=["a"])]
    )
    assert (graph.ahead_of("a"), graph.ahead_of("b"), graph.ahead_of("c")) == (
        ("c", "b"), ("c",), (),
    )  # fmt: skip
    assert graph.requires["c"] == ()


def test_two_ways_to_one_pool_are_no_cycle() -> None:
    """Nothing is cut."""
    graph = Graph([a_pool("a", after=["b", "c"]), a_pool("b", after=["c"]), a_pool("c")])
    assert (graph.after["a"], graph.after["b"]) == (("b", "c"), ("c",))


def test_a_cycle_that_slipped_through_is_cut_and_not_a_trap() -> None:
    """It can be started, and above all it can be stopped."""
    graph = Graph(
        [
            a_pool("a", requires=["c"]),
            a_pool("b", after=["a"]),
            a_pool("c", requires=["b", "a"]),
        ]
    )
    order = [name for name, _ in graph.in_start_order((name, 1) for name in graph.pools)]
    for name in graph.pools:
        assert name not in graph.behind(name)
        assert all(order.index(each) < order.index(name) for each in graph.ahead_of(name))


def test_a_chain_of_thousands_needs_no_recursion() -> None:
    """A file may be as long as it likes."""
    pools = [a_pool(f"w{n}", requires=[f"w{n + 1}"]) for n in range(3000)]
    graph = Graph([*pools, a_pool("w3000")])
    assert graph.rank["w3000"] == 0
    assert len(graph.behind("w3000")) == 3000
    circle = Graph(a_pool(f"w{n}", requires=[f"w{(n + 1) % 3000}"]) for n in range(3000))
    assert len(circle.ahead_of("w0")) == 2999
    assert circle.ahead_of("w2999") == ()
