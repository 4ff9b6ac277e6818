"""A sweep on any number of workers in simulated time: the real worker, lease and store code, with replayed durations.

Every simulated worker is a thread that runs `worker.work`; exactly one thread runs at a time, the one whose simulated
clock is earliest, so a run is the same for the same seed. What is simulated: the clock, the time a request to
the store takes, the measuring (a sleep with checkpoints), the heartbeat's timer; and what happens to the workers: slow
ones, kills without any cleaning up, later restarts, pauses longer than a lease.
"""

import gc
import heapq
import random
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from collect.run.search import Clock, Queue, WorkerConfig
from collect.run.worker import work
from collect.store import files, leases
from collect.store.store import Store, stem


@dataclass(frozen=True)
class Fleet:
    """The workers and what happens to them; shares are of the workers, times in seconds."""

    workers: int
    killed: float = 0.0  # share killed once, at any time of an undisturbed run
    away: float = 600.0  # until a killed one is started again, as a new worker; inf for never
    slow: float = 0.0  # share that runs at a tenth to a half of the speed
    spread: float = 0.05  # standard deviation of ln speed of all the others
    paused: float = 0.0  # share that stands still once
    pause: float = 400.0  # for so long
    request: float = 0.05  # a request to the store; a listing is one request for 1,000 names
    slices: int = 4  # checkpoints offered in a cell
    seed: int = 0


@dataclass(frozen=True)
class Run:
    """What came of it, seconds in simulated time."""

    makespan: float  # until the last cell was in the store
    bound: float  # no scheduler could have been faster, see `bound`
    ended: float  # until the last worker saw that all was done
    finished: dict  # {cell: how often its row was the first}
    store: object
    counts: dict  # {kind of event: how often}
    requests: int

    @property
    def above(self):
        """How far above the ideal bound the makespan is: 0.1 is 10 %."""
        return self.makespan / self.bound - 1


LAG = 4  # cells


class Killed(BaseException):
    """Ends a simulated worker wherever it is; nothing it does on the way out reaches the store."""


@dataclass(eq=False)
class Actor:
    """A simulated worker."""

    name: str
    speed: float  # 1 does a cell in its replayed seconds
    turn: threading.Lock = field(default_factory=threading.Lock)  # free when it is the actor's turn
    born: float = 0.0
    dies: float = float("inf")
    pauses: tuple = (float("inf"), float("inf"))  # from, to
    owed: float = 0.0  # seconds of requests that are not slept yet

    def free(self, now):
        """The first moment from now on when it does not stand still."""
        return self.pauses[1] if self.pauses[0] <= now < self.pauses[1] else now


class Stage:
    """Simulated time: who is next, and who runs now."""

    def __init__(self):
        self.now, self.queue, self.order, self.over = 0.0, [], 0, threading.Semaphore(0)
        self.failure = None

    def at(self, when, what):
        """Do something then: run a function, or give an Actor its turn."""
        self.order += 1
        heapq.heappush(self.queue, (when, self.order, what))

    def wait(self, actor, seconds):
        """An actor sleeps: others have their turns. Killed when it does not live to see the end of it."""
        self.at(actor.free(self.now + seconds + actor.owed), actor)
        actor.owed = 0.0
        self.hand_over(actor)
        if actor.free(self.now) > self.now:
            self.wait(actor, 0.0)
        if self.now >= actor.dies:
            raise Killed

    def hand_over(self, me=None):
        """Run what is next until it is an actor's turn; give it to them and wait for ours."""
        while self.queue:
            self.now, _, what = heapq.heappop(self.queue)
            if what is me and me is not None:
                return
            if isinstance(what, Actor):
                what.turn.release()
                if me is not None:
                    me.turn.acquire()
                return
            what()
        self.over.release()

    def enter(self, actor, play):
        """Start an actor's thread at its birth."""

        def live():
            actor.turn.acquire()
            try:
                play(actor)
            except Killed:
                pass
            except BaseException as error:
                self.failure = self.failure or error
            self.hand_over()

        thread = threading.Thread(target=live, daemon=True)
        actor.turn.acquire()

        def begin():
            self.at(self.now, actor)
            thread.start()

        self.at(actor.born, begin)


@dataclass(frozen=True)
class Slow:
    """A place whose requests take time, for one actor; what a dead one asks is not done."""

    place: object
    stage: Stage
    actor: Actor
    request: float
    requests: list  # [requests so far]
    shared: list  # [the last listing of the cells]

    def _pay(self, requests=1):
        if self.stage.now >= self.actor.dies:
            raise Killed
        self.actor.owed += requests * self.request
        self.requests[0] += requests

    def create(self, name, data, lasting=False):
        """The two requests that decide something happen at their time; of others the time is slept before the next."""
        self._pay()
        self.stage.wait(self.actor, 0.0)
        return self.place.create(name, data)

    def names(self, folder):
        """A listing; that of the cells lags by up to LAG cells, so that 512 workers share what were 512 copies."""
        if folder == "cells":
            cells = self.place.folders.get(folder, {})
            if len(cells) >= len(self.shared[0]) + LAG:
                self.shared[0] = frozenset(cells)
            listed = self.shared[0]
        else:
            listed = self.place.names(folder)
        self._pay(1 + len(listed) // 1000)
        return listed

    def stamps(self, folder):
        listed = self.place.stamps(folder)
        self._pay(1 + len(listed) // 1000)
        return listed

    def __getattr__(self, method):
        def ask(*arguments):
            self._pay()
            return getattr(self.place, method)(*arguments)

        return ask


def _pulse(stage, actor):
    """The heartbeat's timer in simulated time; it stands still and dies with its worker."""

    @contextmanager
    def beating(place, lease, seconds):
        beats, active = leases.Beats(), [True]

        def beat():
            if not active[0] or stage.now >= actor.dies or beats.lost:
                return
            if actor.free(stage.now) == stage.now:
                beats.lost = not leases.renew(place.place, lease)
            stage.at(max(stage.now + seconds, actor.free(stage.now)), beat)

        stage.at(stage.now + seconds, beat)
        try:
            yield beats
        finally:
            active[0] = False

    return beating


def _replay(stage, actor, seconds, slices):
    """measure(cell, partial, checkpoint): the cell's seconds in slices, from where the partial sums end."""

    def measure(cell, partial=None, checkpoint=None):
        for done in range(int(partial["slices"][0]) if partial else 0, slices):
            stage.wait(actor, seconds[cell] / slices / actor.speed)
            checkpoint({"slices": np.array([done + 1])})
        return {"cell": str(cell)}

    return measure


def actors(fleet, expected):
    """The Actors of a fleet, restarted ones as further actors; `expected` seconds of an undisturbed run."""
    rng, crew = random.Random(fleet.seed), []
    for i in range(fleet.workers):
        speed = rng.uniform(0.1, 0.5) if rng.random() < fleet.slow else rng.lognormvariate(0.0, fleet.spread)
        first = Actor(f"w{i}", speed)
        if rng.random() < fleet.paused:
            start = rng.uniform(0, expected)
            first.pauses = (start, start + fleet.pause)
        crew.append(first)
        if rng.random() < fleet.killed:
            first.dies = rng.uniform(0, expected)
            crew.append(Actor(f"w{i}b", speed, born=first.dies + fleet.away))
    return [actor for actor in crew if actor.born < float("inf")]


def bound(actors, seconds):
    """Seconds in which no scheduler could have been: the largest of two lower bounds.

    Work: the moment by which all workers together, from birth to death, their pauses left out, each at its own speed,
    could have done the seconds of all cells, had they been divisible without end and requests free. What kills lost
    counts as done: a perfect scheduler would checkpoint at every instant.
    Longest: the longest cell at the fastest worker.
    """
    edges = []
    for a in actors:
        edges += [(a.born, a.speed), (a.dies, -a.speed)]
        start, end = (min(max(edge, a.born), a.dies) for edge in a.pauses)
        edges += [(start, -a.speed), (end, a.speed)]
    left, rate, now = sum(seconds.values()), 0.0, 0.0
    for when, change in sorted(edges):
        if when - now >= left / rate if rate > 1e-9 else when == float("inf"):
            break
        left, now, rate = left - rate * (when - now), when, rate + change
    longest = max(seconds.values()) / max(a.speed for a in actors)
    return max(now + left / rate, longest) if rate > 1e-9 else float("inf")


def simulate(jobs, seconds, fleet, config=None):
    """Run the jobs on a fleet; seconds = {job.cell: replayed seconds at speed 1}. Returns a Run."""
    stage, place, requests, shared, queue = Stage(), files.Memory(), [0], [frozenset()], Queue.of(jobs)
    finished, counts, last, ended = {}, {}, [0.0], [0.0]
    crew = actors(fleet, sum(seconds.values()) / fleet.workers)

    def play(actor):
        clock = Clock(lambda: stage.now + actor.owed, lambda s: stage.wait(actor, s), lambda: stage.now)
        store = Store(Slow(place, stage, actor, fleet.request, requests, shared))
        measure = _replay(stage, actor, seconds, fleet.slices)
        owner = leases.Owner(f"{fleet.seed} {actor.name}")
        for event in work(queue, store, measure, owner, clock, _pulse(stage, actor), config or WorkerConfig()):
            counts[event.kind] = counts.get(event.kind, 0) + 1
            if event.kind == "finished":
                finished[stem(event.job)] = finished.get(stem(event.job), 0) + 1
                last[0] = stage.now
        ended[0] = max(ended[0], stage.now)

    for actor in crew:
        stage.enter(actor, play)
    collecting = gc.isenabled()
    gc.disable()  # every pass would walk all that 512 workers know, a sixth of the time, and find nothing
    try:
        stage.hand_over()
        stage.over.acquire()
    finally:
        if collecting:
            gc.enable()
    if stage.failure:
        raise stage.failure
    return Run(last[0], bound(crew, seconds), ended[0], finished, Store(place), counts, requests[0])
