"""Partial sums of cells in work: one safetensors file per cell and token, replaced whole, with a checksum.

The token is that of the lease under which they were written (leases.py). A worker that lost its lease without
knowing writes under its own, lower token, where nobody who came after looks first. Any readable file is a true partial
result, since samples depend on their numbers alone; of several, the highest token is taken.
"""

from contextlib import suppress

from safetensors import SafetensorError
from safetensors.numpy import load, save

from scalinglaws.cells import PLACEHOLDER, add_checksum, checksum_matches

FOLDER = "partial"


def partial_file(stem, token):
    return f"{FOLDER}/{stem}.{token}.safetensors"


def tokens(files, stem):
    """Tokens with a partial file of this cell, highest first."""
    mine = (name.rsplit(".", 2) for name in files.names(FOLDER) if name.startswith(stem))
    return sorted((int(token) for cell, token, _ in mine if cell == stem), reverse=True)


def keep_partial(files, stem, token, arrays):
    """Replace the partial sums under this token."""
    files.replace(partial_file(stem, token), add_checksum(save(arrays, metadata={"checksum": PLACEHOLDER})))


def read_partial(files, stem, known):
    """{name: array} of the highest known token that is whole, or None; damaged files are removed."""
    for token in known:
        data = files.read(partial_file(stem, token))
        if data is not None and checksum_matches(data):
            with suppress(SafetensorError):
                return load(data)
        files.remove(partial_file(stem, token))
    return None


def drop_partials(files, stem, token):
    """Remove the partial sums up to this token: the cell is finished or failed."""
    for known in range(token + 1):
        files.remove(partial_file(stem, known))


def left_over(files):
    """[(name, cell)] of all partial sums."""
    return [(f"{FOLDER}/{name}", name.rsplit(".", 2)[0]) for name in files.names(FOLDER)]
