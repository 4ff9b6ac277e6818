"""A verb's function, imported when the verb runs: help, and what is wrong with the arguments, need no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from scalinglaws.schema import InputError


@dataclass(frozen=True)
class Command:
    """run(args) of a verb: what can be checked without torch first, then the function itself."""

    place: str  # in collect.commands, such as 'sweeps.status'
    check: Callable = lambda args: None  # raises InputError for arguments, or a file, that cannot be used

    def __call__(self, args):
        self.check(args)
        return self.function()(args)

    def function(self):
        """The function at its place; InputError where a package that it imports is missing."""
        module, name = self.place.split(".")
        try:
            return getattr(import_module(f"collect.commands.{module}"), name)
        except ImportError as error:
            raise InputError(
                f"The command 'collect' needs a package that is not here ({error}): pip install 'scalinglaws[collect]'."
            ) from error
