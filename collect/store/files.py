"""Whole files in a folder, in memory or in an object store: created once or replaced, never seen half written.

One interface, three places; names are 'folder/file', and every method is one request where the place takes requests:

    create(name, data)   True when the file is now there whole, False when it was there before (first write wins);
                         `lasting=True` asks a disk to have it before the call returns
    replace(name, data)  whole, over whatever was there
    read(name)           bytes, or None when there is no such file
    has(name)            whether it is there
    names(folder)        the set of file names in it, in one listing
    stamps(folder)       {file name: something that changes whenever the file does}, in one listing
    touch(name, data)    change the stamp of a file that is there; False when it is gone
    remove(name)         whether it was there or not
    move(name, to)       whether it was there or not

A full disk or a refused write is an InputError, and leaves nothing behind that could be taken for a file.
Files carry their own checksum (scalinglaws/cells.py), so that damage is found by whoever reads them.
"""

import errno
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from scalinglaws.schema import InputError

NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
LEFT = 3600  # seconds after which an unfinished temporary file is litter


def open_place(folder):
    """The place of a path, of a URL that fsspec knows (s3://bucket/run, memory://run), or a place as it is.

    InputError when the path is a file.
    """
    if hasattr(folder, "stamps"):
        return folder
    text = os.fspath(folder).removeprefix("file://")
    if "://" in text:
        return Remote(text.rstrip("/"))
    if Path(text).is_file():
        raise InputError(f"{text} is a file: a store is a folder of finished cells. Give another path.")
    return Local(Path(text))


def refused(place, name, error):
    """The sentence for a write that the place did not take."""
    reason = error.strerror or str(error) or type(error).__name__
    return InputError(f"{place} did not take {name} ({reason}): make room there or choose another store. Everything "
                      "finished before is kept; run the same command again to go on.")  # fmt: skip


@dataclass(frozen=True)
class Local:
    """A folder on a disk, shared or not. Exclusive by link(2), which holds on NFS, too; whole by rename(2).

    Where the disk knows no hard links, an empty file is put first and replaced: a kill between the two leaves an empty
    file, which is found as damaged.
    """

    root: Path

    def __str__(self):
        return str(self.root)

    def create(self, name, data, lasting=False):
        path, part = self.root / name, self._part(name, data, lasting)
        try:
            _put_new(part, path)
        except FileExistsError:
            return part.stat().st_nlink > 1  # NFS may say so of the link it has just made
        except OSError as error:
            raise refused(self, name, error) from error
        finally:
            part.unlink(missing_ok=True)
        return True

    def replace(self, name, data):
        part = self._part(name, data)
        try:
            os.replace(part, self.root / name)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise refused(self, name, error) from error

    def _part(self, name, data, lasting=False):
        """The data in a file of tmp/."""
        part = self.root / "tmp" / uuid4().hex
        try:
            for folder in (part.parent, (self.root / name).parent):
                folder.mkdir(parents=True, exist_ok=True)
            with open(part, "xb") as file:
                file.write(data)
                file.flush()
                if lasting:
                    os.fsync(file.fileno())
        except OSError as error:
            part.unlink(missing_ok=True)
            raise refused(self, name, error) from error
        return part

    def read(self, name):
        try:
            return (self.root / name).read_bytes()
        except FileNotFoundError:
            return None

    def has(self, name):
        return os.path.exists(self.root / name)

    def names(self, folder):
        try:
            return set(os.listdir(self.root / folder))
        except FileNotFoundError:
            return set()

    def stamps(self, folder):
        stamps = {}
        with suppress(FileNotFoundError), os.scandir(self.root / folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # gone since it was listed
                    stat = entry.stat()
                    stamps[entry.name] = (stat.st_mtime_ns, stat.st_ino)
        return stamps

    def touch(self, name, data):
        try:
            os.utime(self.root / name)
        except FileNotFoundError:
            return False
        return True

    def remove(self, name):
        (self.root / name).unlink(missing_ok=True)

    def move(self, name, to):
        try:
            os.replace(self.root / name, self.root / to)
        except FileNotFoundError:
            return False
        return True

    def sweep(self):
        """Remove what killed writers left in tmp/ more than an hour ago."""
        for name in self.names("tmp"):
            path = self.root / "tmp" / name
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > LEFT:
                    path.unlink()


def _put_new(part, path):
    """Give the finished file its name; FileExistsError when the name is taken."""
    try:
        os.link(part, path)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(part, path)


def _copy_then_remove(place, name, to):
    """move() of a place that cannot rename."""
    data = place.read(name)
    if data is None:
        return False
    place.replace(to, data)
    place.remove(name)
    return True


@dataclass(frozen=True)
class Remote:
    """A folder of an fsspec filesystem. A file is one request, so whole where the service makes it so.

    `create` asks the service to refuse a name that is taken (S3, Google and Azure do; S3-like services of before 2025
    and sftp may not: there two workers can hold one cell, and still the row is one and the same).
    """

    url: str

    def __str__(self):
        return self.url

    @property
    def _fs(self):
        try:
            from fsspec.core import url_to_fs

            return url_to_fs(self.url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise InputError(f"The store {self.url} cannot be opened: {error}. Give a folder, or install the package "
                             "that fsspec names for this kind of URL.") from error  # fmt: skip

    def create(self, name, data, lasting=False):
        try:
            self._pipe(name, data, mode="create")
        except FileExistsError:
            return False
        return True

    def replace(self, name, data):
        self._pipe(name, data)

    def _pipe(self, name, data, **options):
        fs, root = self._fs
        try:
            fs.pipe_file(f"{root}/{name}", data, **options)
        except FileExistsError:
            raise
        except OSError as error:
            raise refused(self, name, error) from error

    def read(self, name):
        fs, root = self._fs
        try:
            return fs.cat_file(f"{root}/{name}")
        except FileNotFoundError:
            return None

    def has(self, name):
        fs, root = self._fs
        fs.invalidate_cache()
        return fs.exists(f"{root}/{name}")

    def names(self, folder):
        return set(self.stamps(folder))

    def stamps(self, folder):
        """Sizes, times and hashes, as the listing gives them; the service's words are compared, never read."""
        fs, root = self._fs
        fs.invalidate_cache()
        try:
            listed = fs.ls(f"{root}/{folder}", detail=True)
        except FileNotFoundError:
            return {}
        return {f["name"].rstrip("/").rpartition("/")[2]: repr(f) for f in listed if f["type"] == "file"}

    def touch(self, name, data):
        if not self.has(name):
            return False
        self.replace(name, data)
        return True

    def remove(self, name):
        fs, root = self._fs
        with suppress(FileNotFoundError):
            fs.rm_file(f"{root}/{name}")

    def move(self, name, to):
        return _copy_then_remove(self, name, to)

    def sweep(self):
        """Nothing: a request that was cut leaves nothing."""


@dataclass(frozen=True, eq=False)
class Memory:
    """A folder of this process alone: for tests and for the simulation."""

    folders: dict = field(default_factory=dict)  # {folder: {file name: (data, number of writes before it)}}
    lock: threading.Lock = field(default_factory=threading.Lock)
    writes: list = field(default_factory=lambda: [0])

    def __str__(self):
        return "memory"

    def _at(self, name):
        folder, _, file = name.rpartition("/")
        return self.folders.setdefault(folder, {}), file

    def _put(self, folder, file, data):
        self.writes[0] += 1
        folder[file] = (data, self.writes[0])

    def create(self, name, data, lasting=False):
        folder, file = self._at(name)
        with self.lock:
            if file in folder:
                return False
            self._put(folder, file, data)
            return True

    def replace(self, name, data):
        with self.lock:
            self._put(*self._at(name), data)

    def read(self, name):
        folder, file = self._at(name)
        return folder.get(file, (None,))[0]

    def has(self, name):
        folder, file = self._at(name)
        return file in folder

    def names(self, folder):
        return set(self.folders.get(folder, ()))

    def stamps(self, folder):
        return dict(self.folders.get(folder, {}))

    def touch(self, name, data):
        folder, file = self._at(name)
        with self.lock:
            if file not in folder:
                return False
            self._put(folder, file, data)
            return True

    def remove(self, name):
        folder, file = self._at(name)
        with self.lock:
            folder.pop(file, None)

    def move(self, name, to):
        return _copy_then_remove(self, name, to)

    def sweep(self):
        """Nothing to sweep."""
