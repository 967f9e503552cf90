"""In which line of a YAML file a value stands."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

__all__ = ["line_of", "repeated_key"]


def line_of(text: str, place: Sequence[str | int]) -> int | None:
    """The line, from 1, of the value at keys and numbers; of what is around it, where it does not exist.

    What is not a key there is passed over: pydantic puts the names of alternatives among them.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None:
        return None
    line = None
    for part in place:
        found = _inner(node, part)
        if found is not None:
            node, line = found
    return line


def _inner(node: yaml.Node, part: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line + 1
    return None


def repeated_key(text: str) -> tuple[str, int] | None:
    """The first key that stands twice in one mapping, of which YAML would drop the first, and its line."""
    waiting = [yaml.compose(text, Loader=yaml.SafeLoader)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if key.value in seen:
                    return str(key.value), key.start_mark.line + 1
                seen.add(key.value)
                waiting.append(value)
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return None
