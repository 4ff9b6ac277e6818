"""Partial sums of cells in work: one safetensors file a cell and token, replaced whole, with a checksum.

The token is that of the lease under which they were written (leases.py). A worker that lost its lease without
knowing writes under its own, lower token, where nobody who came after looks first. Any readable file is a true partial
result, since samples depend on their numbers alone; of several, the highest token is taken.
"""

from safetensors import SafetensorError
from safetensors.numpy import load, save

from collect.store import files as whole

FOLDER = "partial"


def file(stem, token):
    return f"{FOLDER}/{stem}.{token}.safetensors"


def tokens(files, stem):
    """Tokens with a partial file of this cell, highest first."""
    mine = (name.rsplit(".", 2) for name in files.names(FOLDER) if name.startswith(stem))
    return sorted((int(token) for cell, token, _ in mine if cell == stem), reverse=True)


def keep(files, stem, token, arrays):
    """Replace the partial sums under this token."""
    files.replace(file(stem, token), whole.seal(save(arrays, metadata={"seal": whole.BLANK})))


def read(files, stem, known):
    """{name: array} of the highest known token that is whole, or None; damaged files are removed."""
    for token in known:
        data = files.read(file(stem, token))
        arrays = _whole(data)
        if arrays is not None:
            return arrays
        files.remove(file(stem, token))
    return None


def _whole(data):
    if data is None or not whole.sealed(data):
        return None
    try:
        return load(data)
    except SafetensorError:
        return None


def drop(files, stem, token):
    """Remove the partial sums up to this token: the cell is settled."""
    for known in range(token + 1):
        files.remove(file(stem, known))


def left(files):
    """[(name, cell)] of all partial sums."""
    return [(f"{FOLDER}/{name}", name.rsplit(".", 2)[0]) for name in files.names(FOLDER)]
