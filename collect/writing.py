"""Files that are whole or not there."""

import os
import shutil
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


def write_text(path, text):
    """Text as a file in UTF-8, whole or not at all."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


def copy(source, path):
    """A copy of a file, whole or not at all."""
    with whole(path) as part:
        shutil.copy2(source, part)
