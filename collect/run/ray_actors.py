"""Workers as actors of a Ray cluster, their events streamed back."""

import os
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field

from collect.run.worker import RESTARTS, Broken, Event, ignore, one_line, work
from scalinglaws.schema import InputError


def ray(opener, workers=None, report=ignore, address=None, **options):
    """Actors on a Ray cluster, or on this machine; the store must be a place that all of them reach.

    Each takes a GPU where the cluster has any, else a core. Stopping the loop kills the actors, so that their leases
    expire instead of being released. Of an actor that is killed the last events may not arrive; the store has its rows.
    """
    cluster = _ray()
    with _connected(cluster, address):
        total = cluster.cluster_resources()
        gpu = int(total.get("GPU", 0) > 0)
        actor = cluster.remote(num_cpus=1, num_gpus=gpu, max_restarts=0)(_Actor)
        actors = _Actors(cluster, lambda: actor.remote(opener, options), workers or int(total["GPU" if gpu else "CPU"]))
        try:
            yield from actors.listen()
        finally:
            actors.stop()


class _Actor:
    """A worker on a Ray cluster; what happens within a cell is reported after it."""

    def __init__(self, opener, options):
        self.opener, self.options = opener, options

    def work(self):
        reported = []
        jobs, store, measure = self.opener()
        for event in work(jobs, store, measure, report=reported.append, **self.options):
            while reported:
                yield reported.pop(0)  # Ray sends into generators: no `yield from` a list
            yield event


@dataclass
class _Actors:
    """Ray actors and the streams of their events."""

    cluster: object
    make: Callable
    count: int
    spare: int = 0
    streams: dict = field(default_factory=dict)  # {stream: actor}

    def start(self):
        actor = self.make()
        self.streams[actor.work.options(num_returns="streaming").remote()] = actor

    def listen(self):
        """Events until every stream has ended; a dead actor is reported and replaced, a few times."""
        errors = self.cluster.exceptions
        self.spare = RESTARTS * self.count
        for _ in range(self.count):
            self.start()
        while self.streams:
            ready, _ = self.cluster.wait(list(self.streams), num_returns=1)
            try:
                yield self.cluster.get(next(ready[0]))
            except StopIteration:
                del self.streams[ready[0]]
            except errors.RayTaskError as error:
                yield from self._lost(ready[0], error.cause)
            except errors.RayActorError as error:
                yield from self._lost(ready[0], error)

    def _lost(self, stream, error):
        del self.streams[stream]
        if isinstance(error, InputError):
            raise error
        died = isinstance(error, self.cluster.exceptions.RayActorError) and not error.actor_init_failed
        again = self.spare > 0 and (died or isinstance(error, Broken))
        then = "another is started" if again else "it is not started again"
        reason = one_line(error).partition(" class_name:")[0]
        yield Event("lost", "ray actor", reason=f"{reason}: its cell is taken over, {then}")
        if again:
            self.spare -= 1
            self.start()

    def stop(self):
        for actor in self.streams.values():
            self.cluster.kill(actor)


def _ray():
    """The ray package, its usage reports off; InputError where it is missing."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError:
        what = "Engine 'ray' needs the package ray: pip install 'scalinglaws[ray]', or say --engine gpus."
        raise InputError(what) from None
    return ray


@contextmanager
def _connected(cluster, address):
    """A connection to the cluster at an address, or to one started here; one that is there already is used and left."""
    if cluster.is_initialized():
        yield
        return
    try:
        cluster.init(address=address, include_dashboard=False if address is None else None, log_to_driver=False)
    except ConnectionError as error:
        raise InputError(f"No Ray cluster at '{address}' ({error}): start one with 'ray start --head', or leave "
                         "--address out for this machine alone.") from error  # fmt: skip
    except Exception as error:  # Ray's own, of no class, when the machine is too busy for the seconds it gives itself
        raise InputError(f"Ray did not start ({one_line(error)}): run the command again when the machine is less busy, "
                         "or say --engine gpus.") from error  # fmt: skip
    try:
        yield
    finally:
        cluster.shutdown()
