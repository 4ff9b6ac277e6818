"""Workers in this process, or in processes of this machine: one per GPU, or several on the CPU's cores.

Each process reports through a pipe of its own, so that a killed one harms no other's.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait

from collect.run.worker import RESTARTS, Broken, Event, ignore, one_line, work
from scalinglaws.schema import InputError

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
    children = [_Child(opener, options, settings) for settings in _settings(workers)]
    try:
        for child in children:
            child.start()
        yield from _listen(children)
    finally:
        for child in children:
            child.stop()


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
class _Child:
    """A worker process with the pipe it reports through: one each, so that a killed one harms no other's."""

    opener: Callable
    options: dict
    settings: dict
    started: int = 0
    process: object = None
    pipe: object = None

    def start(self):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=_serve, args=(self.opener, self.options, theirs), daemon=True)
        with _environment(self.settings):
            self.process.start()
        theirs.close()
        self.started += 1

    def read(self):
        """The next Event, or None when there will be no more."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.pipe.close()
            self.process.join()
            return None

    def stop(self):
        """Ask for an end, and make one if it does not come."""
        if self.process is None:
            return
        for end in (self.process.terminate, self.process.kill):
            if self.process.is_alive():
                end()
                self.process.join(PATIENCE)
        self.pipe.close()
        self.process.close()


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
        report(error if isinstance(error, InputError) else Event("lost", str(os.getpid()), reason=one_line(error)))
        raise SystemExit(next((code for kind, code in ENDS.items() if isinstance(error, kind)), 1)) from None


def _stop(number, frame):
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _listen(children):
    """Events of all children until each has ended; lost ones are reported and, where that may help, started again."""
    alive, refusal = list(children), None
    while alive:
        for pipe in wait([child.pipe for child in alive]):
            child = next(child for child in alive if child.pipe is pipe)
            event = child.read()
            if isinstance(event, InputError):
                refusal = event
            elif event is not None:
                yield event
            elif child.process.exitcode in (0, REFUSED):
                alive.remove(child)
            else:
                code, pid = child.process.exitcode, child.process.pid
                again = child.started <= RESTARTS and (code < 0 or code == WORN)
                if again:
                    child.start()
                else:
                    alive.remove(child)
                how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
                then = "another is started" if again else "it is not started again"
                yield Event("lost", str(pid), reason=f"its process ended ({how}): its cell is taken over, {then}")
    if refusal:
        raise refusal


def _no_address(engine, address):
    if address is not None:
        raise InputError(f"Engine '{engine}' takes no address ('{address}' was given): say --engine ray.")
