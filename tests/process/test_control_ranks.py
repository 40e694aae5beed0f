"""The control server when some clients may more than others, or may less than before."""

import pytest

from supervisord_lite.control import server
from tests.support.control import TOP_RANK, Bench, ask

pytestmark = pytest.mark.process
GET_INFO = {"method": "org.varlink.service.GetInfo"}


@pytest.mark.parametrize("method", ["Start", None])
def test_a_crowd_of_those_who_may_less_shuts_out_nobody(method: str | None) -> None:
    """Busy or idle, they give way to who may more, and to nobody of their own when busy."""
    ranks = [1] * server.MAX_CONNECTIONS + [TOP_RANK, 1]
    with Bench(rank=lambda _peer: ranks.pop(0)) as bench:
        crowd = [bench.connect() for _ in range(server.MAX_CONNECTIONS)]
        bench.settle()
        if method:
            for client in crowd:
                bench.say(client, ask(method))
        root = bench.connect()
        bench.say(root, GET_INFO)
        assert len(bench.hear(root)) == 1
        bench.say(root, ask("Stop"))  # from now on it is busy
        late = bench.connect()
        bench.settle()

        gone = sum(bench.is_closed(client) for client in crowd)
        assert (bench.is_closed(late), gone) == ((True, 1) if method else (False, 2))
        assert not bench.is_closed(root)
        assert bench.connection_count == server.MAX_CONNECTIONS


def test_who_is_connected_is_judged_again() -> None:
    """Whoever lost every right is hung up on in the middle of a call; the others go on."""
    ranks = [TOP_RANK, 1]
    with Bench(rank=lambda _peer: ranks.pop(0)) as bench:
        stays, goes = bench.connect(), bench.connect()
        bench.say(stays, ask("Start"))
        bench.say(goes, ask("Start"))
        ranks[:] = [TOP_RANK, 0]
        bench.server.judge_again()
        assert bench.is_closed(goes)
        assert not bench.is_closed(stays)
        assert (bench.server.refused, bench.connection_count) == (1, 1)
