"""Who works on what: one small file per lease, claimed by being created, kept alive by a heartbeat.

A lease never decides what is true (the first cell file does that): it only keeps workers from doing the same work.

leases/CELL.N   N is the fencing token: whoever takes a cell over creates N + 1, so of any number of takers one wins;
                then the taker removes N, by which the former holder learns of it at its next heartbeat.

Expiry compares no clocks of two machines: a worker calls a lease expired when the file's stamp has not changed for
`ttl` seconds of the worker's own clock, or at once when its process was on this machine and is gone.
On a place whose `create` is not exclusive (see files.py) two workers may hold one cell; the row is still one.
"""

import json
import os
import platform
import threading
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property, lru_cache
from pathlib import Path
from uuid import uuid4

from scalinglaws.schema import InputError

FOLDER = "leases"


@dataclass(frozen=True)
class Owner:
    """A worker: its name, and the process by which others on its machine see whether it lives."""

    who: str
    host: str = ""  # machine, boot and process namespace: equal only where process numbers mean the same
    pid: int = 0
    born: str = ""  # when the process started, in the kernel's count


@cache
def this_host():
    """The machine's name with its boot and process namespace where the system shows them."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def born(pid):
    """When a process started, or '' where the system does not show it; None when there is no such process."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else rest[18]  # field 22 of proc(5); a zombie works no more
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else ""


def me():
    """An Owner for this process; every call is another worker."""
    pid = os.getpid()
    return Owner(f"{platform.node()}-{pid}-{uuid4().hex[:6]}", this_host(), pid, born(pid))


def gone(owner):
    """Whether an owner's process was on this machine and is no more."""
    return bool(owner.host) and owner.host == this_host() and born(owner.pid) != owner.born


@dataclass(frozen=True)
class Lease:
    """A cell held by a worker."""

    stem: str
    token: int
    owner: Owner
    since: float = 0.0  # seconds since 1970 on the holder's clock, for people
    lost: int = 0  # how many holders in a row were lost without new partial sums

    @property
    def name(self):
        return f"{FOLDER}/{self.stem}.{self.token}"

    @cached_property
    def text(self):
        return json.dumps(asdict(self)).encode()


def claim(files, lease, over=()):
    """Whether the lease is now ours: it was created, and no others are there but those it is to be held over.

    Others would be there when our listing was old: a lease claimed since, under a lower or a higher token.
    """
    if not files.create(lease.name, lease.text):
        return False
    leased = (split(name) for name in files.names(FOLDER) if name.startswith(lease.stem))
    if {token for cell, token in leased if cell == lease.stem} - {None, lease.token, *over}:
        files.remove(lease.name)
        return False
    return True


def renew(files, lease):
    """One heartbeat; False when the lease was taken over."""
    return files.touch(lease.name, lease.text)


def release(files, lease):
    files.remove(lease.name)


def read_lease(files, name):
    """The Lease in a file of leases/, or None when it is gone or unreadable."""
    try:
        fields = json.loads(files.read(f"{FOLDER}/{name}") or b"{}")
        return Lease(**fields | {"owner": Owner(**fields["owner"])})
    except (ValueError, KeyError, TypeError):
        return None


def held(files):
    """[{cell, who, host, pid, since, gone}] of all leases, for people; since as ISO time or None; gone: whether the
    holder was a process of this machine that has ended, so that the next worker takes the cell over at once."""
    names = sorted(name for name in files.names(FOLDER) if split(name)[1] is not None)
    leased = []
    for name in names:
        lease, holder = read_lease(files, name), dict.fromkeys(("who", "host", "pid", "since")) | {"gone": False}
        if lease:
            since = datetime.fromtimestamp(lease.since, UTC).isoformat(timespec="seconds")
            host = lease.owner.host.split(" ")[0]
            holder = {"who": lease.owner.who, "host": host, "pid": lease.owner.pid, "since": since}
            holder["gone"] = gone(lease.owner)
        leased.append({"cell": split(name)[0]} | holder)
    return leased


@dataclass
class Beats:
    """What the holder learns from its heartbeats."""

    lost: bool = False


@contextmanager
def beating(files, lease, seconds):
    """Renew the lease every so many seconds from a thread while the body runs; yields Beats."""
    beats, over = Beats(), threading.Event()

    def beat():
        while not over.wait(seconds):
            try:
                if not renew(files, lease):
                    beats.lost = True
                    return
            except (OSError, InputError):
                pass  # a full disk or a lost connection: the next beat may pass, and if none does the lease expires

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield beats
    finally:
        over.set()
        thread.join()


@lru_cache(2**15)
def split(name):
    """(cell, token) of a file name in leases/; token None for a file that the disk keeps there for itself."""
    cell, _, token = name.rpartition(".")
    return cell, int(token) if token.isdigit() else None


@dataclass
class Watch:
    """What one worker has seen of all leases, by its own clock."""

    ttl: float  # seconds without a heartbeat after which a lease has expired
    seen: dict = field(default_factory=dict)  # {file name: (stamp, when it changed last, when first seen)}
    tokens: dict = field(default_factory=dict)  # {cell: [tokens of live leases]}
    expired: dict = field(default_factory=dict)  # {cell: [tokens of expired ones]}

    def look(self, files, now):
        """One listing; which leases changed, and which did not for `ttl`."""
        before, self.seen, self.tokens, self.expired = self.seen, {}, {}, {}
        for name, stamp in files.stamps(FOLDER).items():
            (cell, token), known = split(name), before.get(name, (None, now, now))
            if token is not None:
                known = self.seen[name] = known if known[0] == stamp else (stamp, now, known[2])
                sort = self.tokens if now - known[1] <= self.ttl else self.expired
                sort.setdefault(cell, []).append(token)

    def all(self, cell):
        """Tokens of a cell's leases, expired ones included, highest first."""
        return sorted(self.tokens.get(cell, []) + self.expired.get(cell, []), reverse=True)

    def first(self, cell):
        """When this worker first saw the cell's live lease."""
        return min(self.seen[f"{cell}.{token}"][2] for token in self.tokens[cell])
