"""Reading a YAML file safely: an error names the file, the line, the field, what was given and what is allowed."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from scalinglaws.schema import InputError


def read_config(path, kind):
    """A validated file; InputError names the file, the line, the field, what was given and what is allowed."""
    text = _text(path)
    try:
        content, tree = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not readable YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold 'key: value' lines; allowed keys are {', '.join(kind.model_fields)}.")
    try:
        return kind(**content)
    except ValidationError as error:
        raise InputError("; ".join(_sentence(path, tree, e, kind) for e in error.errors()) + ".") from None


def _text(path):
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"No file {path}: give the path of a YAML file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from None


def line_of(tree, place):
    """The line, counted from 1, of the deepest part of a path such as ('steps', 0) that the file holds."""
    line = tree.start_mark.line
    for step in place:
        tree, below = _child(tree, step)
        if tree is None:
            break
        line = below
    return line + 1


def _child(tree, step):
    if isinstance(tree, yaml.MappingNode):
        return next(((value, name.start_mark.line) for name, value in tree.value if name.value == str(step)), (None, 0))
    if isinstance(tree, yaml.SequenceNode) and isinstance(step, int) and step < len(tree.value):
        return tree.value[step], tree.value[step].start_mark.line
    return None, 0


def _named_in_file(step):
    """Whether a step of an error's path is in the file, and not pydantic's name for one of several allowed kinds."""
    return isinstance(step, int) or step.isidentifier()


def _sentence(path, tree, error, kind):
    where = ".".join(str(step) for step in error["loc"] if _named_in_file(step)) or "file"
    if error["type"] == "missing":
        return f"{path}, line {line_of(tree, error['loc'])}: '{where}' is missing"
    allowed = f" (allowed keys: {', '.join(kind.model_fields)})" if error["type"] == "extra_forbidden" else ""
    given = "" if error["type"] == "value_error" and not error["loc"] else f" was {error['input']!r}"
    problem = error["msg"].removeprefix("Value error, ").rstrip(".")
    return f"{path}, line {line_of(tree, error['loc'])}: '{where}'{given}: {problem}{allowed}"
