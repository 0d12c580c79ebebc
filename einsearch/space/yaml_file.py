"""Read YAML into a checked model; every error names the file, the line and the field."""

from __future__ import annotations

from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from einsearch.errors import EinsearchError

ModelT = TypeVar("ModelT", bound=BaseModel)


class _UniqueKeyLoader(yaml.SafeLoader):
    """The safe loader, refusing a key given twice (YAML would keep the last in silence)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem="a field's name is a list or a mapping; write text", problem_mark=key_node.start_mark
                )
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"field {key!r} is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(text: str, source: str, model: type[ModelT]) -> ModelT:
    """Parse `text` (named `source` in messages) and check it against a pydantic model.

    Raises EinsearchError `SOURCE line N, field F: problem` for the first thing that is wrong.
    """
    try:
        node = yaml.compose(text, Loader=_UniqueKeyLoader)
        data = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise EinsearchError(f"{source} line {line}: {error.problem or 'not valid YAML'}") from None
    except (yaml.YAMLError, ValueError) as error:
        # A character that YAML forbids, or a scalar that looks like a date and is none: no mark to take a line from.
        reason = getattr(error, "reason", None) or error
        raise EinsearchError(f"{source}: not valid YAML: {reason}") from None
    if not isinstance(data, dict):
        raise EinsearchError(f"{source} line 1: the file holds no fields; write `name: ...` and the rest")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        location = tuple(part for part in first["loc"] if isinstance(part, str | int))
        line = _line_of(node, location)
        field = ".".join(str(part) for part in location)
        raise EinsearchError(f"{source} line {line}, field {field or '(file)'}: {_problem(first, model)}") from None


def _problem(error: object, model: type[BaseModel]) -> str:
    details = dict(error)  # type: ignore[call-overload]
    if details["type"] == "extra_forbidden":
        known = ", ".join(_fields_at(model, details["loc"][:-1]))
        return f"unknown field; known here: {known}" if known else "unknown field; remove it"
    if details["type"] == "missing":
        return "missing; add it"
    return str(details["msg"]).removeprefix("Value error, ")


def _fields_at(model: type[BaseModel], location: tuple[str | int, ...]) -> list[str]:
    """Names of the fields of the (nested) model at a location; empty where it cannot be told."""
    for part in location:
        field = next((f for name, f in model.model_fields.items() if part in (name, f.alias)), None)
        if field is None:
            continue
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        nested += [
            a
            for c in candidates
            for a in getattr(c, "__args__", ())
            if isinstance(a, type) and issubclass(a, BaseModel)
        ]
        if not nested:
            return []
        model = nested[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _line_of(node: yaml.Node | None, location: tuple[str | int, ...]) -> int:
    """The 1-based line of a field, or of the nearest enclosing one that is in the file."""
    line = 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            match = [(k, v) for k, v in node.value if k.value == str(part)]
            if not match:
                break
            line, node = match[0][0].start_mark.line + 1, match[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
