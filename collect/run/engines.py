"""Where workers run: this process, a process per GPU, Ray. Every engine is one function of the same form.

    for event in ENGINES["gpus"](opener, workers=4): ...

    opener() -> (jobs, store, measure)   called once in every worker; picklable for all engines but 'process'
    workers                              how many; None is one per GPU
    options                              retry, config: as collect.run.worker.work takes them; address: of a Ray cluster
    events                               of all workers as they come, see collect.run.worker.KINDS

A worker that is killed, or broken by a GPU fault, is reported ('lost') and replaced a few times; its cells are taken
over in any case, by the others or by the next run. Stopping the loop stops the workers: they release their leases and
keep their partial sums.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait

from collect.run.worker import Broken, Event, ignore, work
from scalinglaws.schema import InputError

RESTARTS = 5  # of each worker: so that a cell that kills them is given up, see WorkerConfig.losses
PATIENCE = 20  # seconds that stopping workers get
WORN, REFUSED = 3, 2  # exit codes: a process that a GPU fault has broken; one whose store or input was refused
ENDS = {Broken: WORN, InputError: REFUSED}


def process(opener, workers=None, report=ignore, address=None, **options):
    """One worker in this process; `report` is called with what happens within a cell."""
    if workers not in (None, 1):
        raise InputError(f"Engine 'process' is one worker, not {workers}: --engine gpus runs several here.")
    _no_address("process", address)
    jobs, store, measure = opener()
    yield from work(jobs, store, measure, report=report, **options)


def gpus(opener, workers=None, report=ignore, address=None, **options):
    """A process per GPU, or `workers` on the CPU's cores where there is none."""
    _no_address("gpus", address)
    crew = [_Hand(opener, options, settings) for settings in _settings(workers)]
    try:
        for hand in crew:
            hand.start()
        yield from _listen(crew)
    finally:
        for hand in crew:
            hand.stop()


def _settings(workers):
    """[environment] of each worker: its GPU, or its share of the cores."""
    names = visible_gpus()
    if not names and workers is None:
        raise InputError("No GPU is here: say --workers N for N processes on the CPU, or --engine process.")
    count = workers or len(names)
    if names:
        return [{"CUDA_VISIBLE_DEVICES": names[i % len(names)]} for i in range(count)]
    return [{"OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // count))}] * count


def visible_gpus():
    """Names of this process's GPUs as CUDA_VISIBLE_DEVICES wants them; no GPU is touched."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(i) for i in range(torch.cuda.device_count())]
    return [name.strip() for name in visible.split(",")][: len(names)] if visible else names


@dataclass
class _Hand:
    """A worker process with the pipe it reports through: one each, so that a killed one harms no other's."""

    opener: Callable
    options: dict
    settings: dict
    started: int = 0
    child: object = None
    pipe: object = None

    def start(self):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe(duplex=False)
        self.child = context.Process(target=_serve, args=(self.opener, self.options, theirs), daemon=True)
        with _environment(self.settings):
            self.child.start()
        theirs.close()
        self.started += 1

    def read(self):
        """The next Event, or None when there will be no more."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.pipe.close()
            self.child.join()
            return None

    def stop(self):
        """Ask for an end, and make one if it does not come."""
        if self.child is None:
            return
        for end in (self.child.terminate, self.child.kill):
            if self.child.is_alive():
                end()
                self.child.join(PATIENCE)
        self.pipe.close()
        self.child.close()


@contextmanager
def _environment(settings):
    """Set before the process starts, so that they hold before torch is there."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _serve(opener, options, pipe):
    """A worker process: events into the pipe; an error as its last event. SIGTERM ends it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)

    def report(event):
        try:
            pipe.send(event)
        except OSError:
            raise SystemExit(1) from None  # nobody listens: the run was ended

    try:
        jobs, store, measure = opener()
        for event in work(jobs, store, measure, report=report, **options):
            report(event)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        report(error if isinstance(error, InputError) else Event("lost", str(os.getpid()), reason=_words(error)))
        raise SystemExit(next((code for kind, code in ENDS.items() if isinstance(error, kind)), 1)) from None


def _stop(number, frame):
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _words(error):
    return " ".join(f"{type(error).__name__}: {error}".split())


def _listen(crew):
    """Events of all hands until each has ended; lost ones are reported and, where that may help, started again."""
    alive, refusal = list(crew), None
    while alive:
        for pipe in wait([hand.pipe for hand in alive]):
            hand = next(hand for hand in alive if hand.pipe is pipe)
            event = hand.read()
            if isinstance(event, InputError):
                refusal = event
            elif event is not None:
                yield event
            elif hand.child.exitcode in (0, REFUSED):
                alive.remove(hand)
            else:
                code, pid = hand.child.exitcode, hand.child.pid
                again = hand.started <= RESTARTS and (code < 0 or code == WORN)
                if again:
                    hand.start()
                else:
                    alive.remove(hand)
                how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
                then = "another is started" if again else "it is not started again"
                yield Event("lost", str(pid), reason=f"its process ended ({how}): its cell is taken over, {then}")
    if refusal:
        raise refusal


def ray(opener, workers=None, report=ignore, address=None, **options):
    """Actors on a Ray cluster, or on this machine; the store must be a place that all of them reach.

    Each takes a GPU where the cluster has any, else a core. Stopping the loop kills the actors, so that their leases
    expire instead of being released.
    """
    cluster = _ray()
    with _connected(cluster, address):
        total = cluster.cluster_resources()
        gpu = int(total.get("GPU", 0) > 0)
        actor = cluster.remote(num_cpus=1, num_gpus=gpu, max_restarts=0)(_Actor)
        crew = _Crew(cluster, lambda: actor.remote(opener, options), workers or int(total["GPU" if gpu else "CPU"]))
        try:
            yield from crew.listen()
        finally:
            crew.stop()


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
class _Crew:
    """Ray actors and the streams of their events."""

    cluster: object
    make: Callable
    count: int
    spare: int = 0
    streams: dict = field(default_factory=dict)  # {stream: actor}

    def hire(self):
        actor = self.make()
        self.streams[actor.work.options(num_returns="streaming").remote()] = actor

    def listen(self):
        """Events until every stream has ended; a dead actor is reported and replaced, a few times."""
        errors = self.cluster.exceptions
        self.spare = RESTARTS * self.count
        for _ in range(self.count):
            self.hire()
        while self.streams:
            ready, _ = self.cluster.wait(list(self.streams), num_returns=1)
            try:
                yield self.cluster.get(next(ready[0]))
            except StopIteration:
                del self.streams[ready[0]]
            except errors.RayTaskError as error:
                yield from self._fallen(ready[0], error.cause)
            except errors.RayActorError as error:
                yield from self._fallen(ready[0], error)

    def _fallen(self, stream, error):
        del self.streams[stream]
        if isinstance(error, InputError):
            raise error
        died = isinstance(error, self.cluster.exceptions.RayActorError) and not error.actor_init_failed
        again = self.spare > 0 and (died or isinstance(error, Broken))
        then = "another is started" if again else "it is not started again"
        reason = _words(error).partition(" class_name:")[0]
        yield Event("lost", "ray actor", reason=f"{reason}: its cell is taken over, {then}")
        if again:
            self.spare -= 1
            self.hire()

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
    try:
        yield
    finally:
        cluster.shutdown()


def _no_address(engine, address):
    if address is not None:
        raise InputError(f"Engine '{engine}' takes no address ('{address}' was given): say --engine ray.")


ENGINES = {
    "process": process,  # this process
    "gpus":    gpus,     # a process per GPU, or several on the CPU
    "ray":     ray,      # actors on a Ray cluster
}  # fmt: skip


def engine(name):
    """The engine of that name; InputError lists them."""
    if name not in ENGINES:
        raise InputError(f"No engine named '{name}'. Known engines: {', '.join(ENGINES)}.")
    return ENGINES[name]
