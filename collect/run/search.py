"""How a worker finds its next cell among any number, with others at the same store: what it knows, what it picks."""

import random
import time
from bisect import bisect, insort
from dataclasses import dataclass, field
from itertools import accumulate, islice, takewhile

from collect.store import leases, partials
from collect.store.leases import Lease, Watch
from collect.store.store import cell_file, failed_file, stem

SLOW = "its holder is slow"  # so it keeps its lease, and two work on the cell
GONE = "the process that held it is gone"
SILENT = "its holder fell silent"
FEW = 100  # open cells
NARROWER = 0.9  # times the width after a good claim; after one that came too late it is twice as wide
NEAR = 2  # cells of fewer and of more FLOPs by which a worker judges how long one should take


@dataclass(frozen=True)
class Clock:
    """Seconds; the simulation has its own."""

    now: object = time.monotonic
    sleep: object = time.sleep
    date: object = time.time  # since 1970, for people


@dataclass(frozen=True)
class WorkerConfig:
    """Intervals of a worker, in seconds but for shares and counts."""

    beat: float = 20  # between heartbeats
    ttl: float = 120  # without a heartbeat until a lease has expired
    look: float = 1  # least between two listings
    keep: float = 10  # least between two checkpoints of a cell
    share: float = 0.02  # of the time that listings and checkpoints may cost
    late: float = 1.5  # times its expected seconds until an idle worker starts a held cell, too
    losses: int = 5  # holders lost in a row until a cell is given up


@dataclass(frozen=True)
class Queue:
    """All cells, longest expected first; sorted once, whoever uses it."""

    jobs: dict  # {cell: Job}
    order: list  # cells
    place: dict  # {cell: its place in the order, from 1}
    after: list  # expected FLOPs of the cells from this place of the order on

    @staticmethod
    def of(jobs):
        """Of a list of Jobs; a Queue is returned as it is."""
        if isinstance(jobs, Queue):
            return jobs
        named = {stem(job): job for job in jobs}
        order = sorted(sorted(named), key=lambda s: named[s].flops, reverse=True)
        after = accumulate((named[s].flops for s in reversed(order)), initial=0.0)
        return Queue(named, order, {s: i for i, s in enumerate(order, 1)}, list(after)[::-1])


@dataclass
class Search:
    """What one worker knows of the store, and how it picks its next cell.

    Longest expected first. Workers that list at the same time see the same cells free: after a claim that came too
    late the pick widens to any of the first 2, 4, 8 ... free ones, after a good one it narrows again.
    """

    queue: object
    store: object
    owner: object
    clock: object
    config: WorkerConfig
    retry: bool
    cells: set = field(default_factory=set)  # file names of finished cells, at the last listing
    failed: dict = field(default_factory=dict)  # {file name of an outcome: stamp}
    again: dict = field(default_factory=dict)  # the same at the start, where they are to be tried again
    closed: set = field(default_factory=set)  # cells that this worker knows to be finished or failed
    held: list | None = None  # cells with a live lease at the last listing, longest first, once needed
    none_late: bool = False  # at the last listing
    taken: set = field(default_factory=set)  # cells that others claimed since the last listing
    holders: dict = field(default_factory=dict)  # {file name of a lease: Lease}, read when there was nothing better
    rates: list = field(default_factory=list)  # (FLOPs, seconds a FLOP) of the cells measured here, sorted
    at: int = 0  # every cell of `order` before this is closed or in `behind`
    behind: list = field(default_factory=list)  # cells that were still open when they were passed
    width: float = 1.0  # how many free cells to pick from
    idle: int = 0  # rests in a row
    full: float = None  # when the next listing of all cells may come
    quick: float = None  # when the next listing of the leases may come
    cost: float = 0.0  # seconds that the last listing of all cells took
    wasted: float = 0.0  # seconds spent since on claims that came too late

    def __post_init__(self):
        self.jobs, self.order = self.queue.jobs, self.queue.order
        self.watch, self.rng = Watch(self.config.ttl), random.Random(self.owner.who)
        self.full = self.quick = self.clock.now()
        self.again = self.store.files.stamps("failed") if self.retry else {}
        self.store.files.sweep()
        self.look()

    def date(self):
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.clock.date()))

    def look(self):
        """List what is done and leased, unless that was done just now.

        Listings cost `share` of the time at most, but for those after claims on old knowledge wasted as much.
        """
        files, now, stale = self.store.files, self.clock.now(), self.wasted > self.cost
        if (now >= self.full or stale) and not self._few():
            self.cells, self.failed = files.names("cells"), files.stamps("failed")
            self.behind = [s for s in self.behind if s in self.watch.tokens or not self._is_closed(s)]
            self.full, self.cost, self.wasted = self._later(now), self.clock.now() - now, 0.0
        if now >= self.quick or stale:
            self.taken.clear()
            self.watch.look(files, now)
            self.held, self.none_late = None, False
            self.quick = self._later(now)

    def _later(self, start):
        """When a listing that began at `start` may be repeated."""
        now = self.clock.now()
        return now + max(self.config.look, (now - start) / self.config.share)

    def _few(self):
        """Whether it is cheaper to look up each open cell that nobody holds than to list all finished ones."""
        if self.at < len(self.order):
            return False
        self.behind = [s for s in self.behind if not self._is_closed(s)]
        if len(self.behind) > FEW:
            return False
        for cell in self.behind:
            if cell not in self.watch.tokens:
                self._closed_meanwhile(cell)
        return True

    def over(self):
        """Whether every cell is closed: finished or failed."""
        return next(self._open(), None) is None

    def _open(self, busy=()):
        """Cells neither closed nor busy, longest first; the order is walked once, however long one is held."""
        yield from (s for s in self.behind if s not in busy and not self._is_closed(s))
        while self.at < len(self.order):
            cell, self.at = self.order[self.at], self.at + 1
            if not self._is_closed(cell):
                self.behind.append(cell)
                if cell not in busy:
                    yield cell

    def close(self, stem, seconds=None):
        """Note a cell that needs no more work, and what it took if it was measured here."""
        self.closed.add(stem)
        if seconds and self.jobs[stem].flops > 0:
            insort(self.rates, (self.jobs[stem].flops, seconds / self.jobs[stem].flops))

    def _is_closed(self, stem):
        if stem in self.closed or f"{stem}.parquet" in self.cells:
            return True
        return bool(self.failed) and self._gave_up(f"{stem}.json")

    def _gave_up(self, name):
        return name in self.failed and self.failed[name] != self.again.get(name)

    def claim(self):
        """(Lease, whose it was) of the next cell, or (None, '') when nothing can be claimed now."""
        while not self.over():
            self.look()
            candidate = self._late() or self._free() or self._orphan()
            if candidate is None:
                return None, ""
            start, lease = self.clock.now(), self._try(*candidate)
            if lease:
                self.idle, self.width = 0, max(1.0, NARROWER * self.width)
                return lease, candidate[1]
            self.wasted += self.clock.now() - start
        return None, ""

    def _free(self):
        """(cell, why) of one of the longest cells without a live lease."""
        free = list(islice(self._open(self.watch.tokens.keys() | self.taken), int(self.width)))
        if not free:
            return None
        cell = self.rng.choice(free)
        return cell, SILENT if cell in self.watch.expired else ""

    def _orphan(self):
        """A cell whose holder was a process of this machine that is no more."""
        for name in self._held():
            if all(self._is_gone(f"{name}.{token}") for token in self.watch.tokens[name]) and self._may_take(name):
                return name, GONE
        return None

    def _late(self):
        """The longest cell that one other worker holds for too long, once it would last longer than all that is free.

        Before that there is time; after it the sweep would end later for want of a second worker on that cell.
        """
        if not self.rates or self.none_late or self._rest() > self.jobs[self.order[0]].flops:
            return None
        now, rest = self.clock.now(), self._rest()
        for name in takewhile(lambda name: self.jobs[name].flops >= rest, self._held()):
            held, alone = now - self.watch.first(name), len(self.watch.tokens[name]) == 1
            if alone and held > self.config.late * self._expected(self.jobs[name].flops) and self._may_take(name):
                return name, SLOW
        self.none_late = True
        return None

    def _expected(self, flops):
        """Seconds that such a cell would take here: at the slowest rate among the cells nearest in FLOPs."""
        at = bisect(self.rates, (flops,))
        return flops * max(rate for _, rate in self.rates[max(0, at - NEAR) : at + NEAR])

    def _rest(self):
        """FLOPs that each worker will still do of the cells that were never held, were all equally fast."""
        return self.queue.after[self.at] / max(1, len(self.watch.tokens))

    def _held(self):
        if self.held is None:
            self.held = sorted(filter(self.queue.place.get, self.watch.tokens), key=self.queue.place.get)
        return self.held

    def _may_take(self, name):
        return name not in self.taken and not self._is_closed(name)

    def _is_gone(self, name):
        if name not in self.holders:
            self.holders[name] = leases.read_lease(self.store.files, name)
        return self.holders[name] is not None and leases.gone(self.holders[name].owner)

    def _try(self, stem, why):
        """The Lease if the cell could be claimed and is still open, else None."""
        files = self.store.files
        before, kept = self.watch.all(stem), partials.tokens(files, stem)
        self.taken.add(stem)
        lost = 0  # holders in a row, those of these leases among them, that kept no new partial sums
        if why != SLOW and before and before[0] not in kept:
            holder = leases.read_lease(files, f"{stem}.{before[0]}")
            lost = holder.lost + 1 if holder else 0
        lease = Lease(stem, 1 + max([-1, *before, *kept]), self.owner, self.clock.date(), lost)
        if not leases.claim(files, lease, before):
            self.width = min(2 * self.width, len(self.order))
            return None
        if self._closed_meanwhile(stem):
            leases.release(files, lease)
            return None
        for token in before if why != SLOW else ():
            files.remove(f"{leases.FOLDER}/{stem}.{token}")
        return lease

    def _closed_meanwhile(self, stem):
        """Whether the store now has a row, or an outcome other than that which is to be tried again."""
        files, outcome = self.store.files, f"{stem}.json"
        if files.has(cell_file(stem)):
            self.closed.add(stem)
        elif outcome in self.again:
            self.failed = files.stamps("failed")
            if self._gave_up(outcome):
                self.closed.add(stem)
        elif files.has(failed_file(stem)):
            self.closed.add(stem)
        return stem in self.closed

    def rest(self):
        """Sleep until it may be worth while to look again; longer each time, up to four times `look`."""
        seconds, self.idle = self.config.look * 2**self.idle, min(self.idle + 1, 2)
        self.clock.sleep(max(seconds, self.quick - self.clock.now()))

    def tidy(self):
        """Remove what lost workers left of finished cells."""
        files = self.store.files
        left = [(f"{leases.FOLDER}/{name}", leases.split(name)[0]) for name in files.names(leases.FOLDER)]
        for name, cell in left + partials.left_over(files):
            if cell in self.jobs and files.has(cell_file(cell)):
                files.remove(name)
