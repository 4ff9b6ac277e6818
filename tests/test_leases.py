"""Leases: claimed once, kept by heartbeats, expired by the watcher's own clock, taken over by exactly one."""

import os
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from cheap_cells import PATIENCE

from collect.store import files, leases
from collect.store.leases import Lease, Owner, Watch, beating, claim, gone, me, release, renew


def disk(tmp_path):
    return files.Local(tmp_path)


def remote(tmp_path):
    pytest.importorskip("fsspec")
    return files.Remote(f"memory://leases{tmp_path}")


def memory(tmp_path):
    return files.Memory()


@pytest.fixture(params=[disk, remote, memory], ids=["disk", "fsspec", "memory"])
def place(request, tmp_path):
    return request.param(tmp_path)


class Observed:
    """A place that says when so many heartbeats have come."""

    def __init__(self, place, count):
        self.place, self.left, self.touched = place, count, threading.Event()

    def touch(self, name, data):
        try:
            return self.place.touch(name, data)
        finally:
            self.left -= 1
            if self.left == 0:
                self.touched.set()


def lease(token=0, stem="a-k", who="me"):
    return Lease(stem, token, Owner(who))


def test_one_claims_and_the_other_does_not(place):
    assert claim(place, lease()) and not claim(place, lease(who="you"))
    release(place, lease())
    assert claim(place, lease(who="you"))
    assert leases.read_lease(place, "a-k.0").owner.who == "you"


def test_a_claim_from_an_old_listing_backs_off(place):
    """Under a lower token as under a higher one; leases that the claimer knows of and means to be over do not count."""
    assert claim(place, lease(3))
    assert not claim(place, lease(0, who="you")) and not claim(place, lease(5, who="you"))
    assert place.names("leases") == {"a-k.3"}
    assert claim(place, lease(4, who="you"), over=[3])
    assert claim(place, lease(0, "a-k2"))


def test_a_lease_expires_by_the_watchers_own_clock_when_its_file_no_longer_changes(place):
    watch = Watch(ttl=10)
    assert claim(place, lease())
    for now in (0, 9, 18):
        watch.look(place, now)
        assert watch.tokens == {"a-k": [0]} and watch.first("a-k") == 0
        assert renew(place, lease())
    watch.look(place, 27)
    watch.look(place, 37)
    assert watch.tokens == {"a-k": [0]}
    watch.look(place, 37.1)
    assert watch.tokens == {} and watch.expired == {"a-k": [0]} and watch.all("a-k") == [0]
    assert renew(place, lease())
    watch.look(place, 40)
    assert watch.tokens == {"a-k": [0]}, "a worker that goes on before anyone took over has its lease still"


def test_who_was_taken_over_learns_it_at_the_next_heartbeat(place):
    assert claim(place, lease())
    assert claim(place, lease(1, who="you"), over=[0])
    release(place, lease())
    assert not renew(place, lease())
    observed = Observed(place, 1)
    with beating(observed, lease(), 0.01) as beats:
        assert observed.touched.wait(PATIENCE)
    assert beats.lost and place.names("leases") == {"a-k.1"}


def test_heartbeats_keep_a_lease_alive(tmp_path):
    place, mine = disk(tmp_path), lease()
    assert claim(place, mine)
    before, observed = place.stamps("leases"), Observed(place, 3)
    with beating(observed, mine, 0.01) as beats:
        assert observed.touched.wait(PATIENCE)
    assert not beats.lost and place.stamps("leases") != before


def test_a_heartbeat_survives_a_place_that_fails_for_a_while(tmp_path):
    class Shaky(files.Memory):
        def touch(self, name, data):
            raise OSError("connection lost")

    observed = Observed(Shaky(), 3)
    with beating(observed, lease(), 0.01) as beats:
        assert observed.touched.wait(PATIENCE)
    assert not beats.lost


@pytest.mark.parametrize("takers", [3, 8])
def test_of_many_takers_exactly_one_wins_the_stolen_lease(tmp_path, takers):
    place, ready = disk(tmp_path), threading.Barrier(takers)
    for round in range(25):
        stem = f"c{round}-k"
        assert claim(place, lease(0, stem, "dead"))
        won = []

        def take(i, stem=stem, won=won):
            watch = Watch(ttl=0)
            watch.look(place, 0)
            ready.wait()
            if claim(place, lease(1, stem, f"w{i}"), watch.all(stem)):
                won.append(i)

        threads = [threading.Thread(target=take, args=(i,)) for i in range(takers)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert len(won) == 1
        assert leases.read_lease(place, f"{stem}.1").owner.who == f"w{won[0]}"


def test_a_process_of_this_machine_that_is_no_more_is_known_to_be_gone():
    mine = me()
    assert not gone(mine) and mine != me()
    code = "from collect.store.leases import me; o = me(); print(o.who, o.pid, o.born, sep='|')"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    who, pid, born = out.strip().split("|")
    dead = Owner(who, leases.this_host(), int(pid), born)
    assert gone(dead) and not gone(replace(dead, host="elsewhere")) and not gone(Owner("unknown"))
    assert gone(Owner("x", leases.this_host(), os.getpid(), "1")), "another process has its number now"


def test_a_zombie_is_gone():
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is not reaped
    assert leases.born(child.pid) is None and gone(Owner("x", leases.this_host(), child.pid, "5"))
    child.wait()


def test_status_names_the_holder_even_of_an_unreadable_lease(place):
    assert claim(place, replace(lease(2), owner=me(), since=0.0))
    place.create("leases/b-k.0", b"half a le")
    place.create("leases/.nfs0001", b"the disk's own")
    holders = leases.held(place)
    assert [f["cell"] for f in holders] == ["a-k", "b-k"]
    assert holders[0]["pid"] == os.getpid() and holders[0]["since"] == "1970-01-01T00:00:00+00:00"
    assert holders[1]["who"] is None
    watch = Watch(1)
    watch.look(place, 0)
    assert watch.tokens == {"a-k": [2], "b-k": [0]}
