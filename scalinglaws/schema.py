"""One measurement, one row: the contract between the machine that measures and the laptop that fits."""


class InputError(ValueError):
    """What the user gave cannot be used; the message says what was given, what is allowed and what to do."""
