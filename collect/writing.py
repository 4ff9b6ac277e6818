"""Files that are whole or not there."""

import os
from contextlib import contextmanager, suppress
from pathlib import Path

from scalinglaws.schema import InputError


@contextmanager
def whole(path):
    """A file to write beside `path`, which takes its name in the end: a reader sees the old file or the new one, never
    a part. InputError where it cannot be written."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield part
        os.replace(part, path)
    except OSError as error:
        raise InputError(
            f"Cannot write {path} ({error.strerror or error}): make room or name another place."
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
