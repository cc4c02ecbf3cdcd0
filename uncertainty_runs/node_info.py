"""What a ComfyUI says of its node classes: inputs with defaults and limits, and types of outputs.

It is asked rather than repeated here, since defaults and the order of outputs are the nodes' own and change with their versions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class NodeError(ValueError):
    """ComfyUI lacks a node, or a node lacks an input or output; the message says which."""


@dataclass(frozen=True)
class NodeInput:
    """An input of a node: its type (``COMBO`` for a list of choices), and what is known of its values, else None.

    ``multiline`` is true of texts that have a field of several lines, as prompts do.
    """

    type: str
    required: bool
    default: Any = None
    maximum: float | None = None
    multiline: bool = False


@dataclass(frozen=True)
class NodeInfo:
    """A node class: its inputs by name, and the types of its outputs in order."""

    class_type: str
    inputs: Mapping[str, NodeInput]
    outputs: tuple[str, ...]

    @classmethod
    def of(cls, class_type: str, inputs: Mapping[str, Mapping[str, Any]], outputs: Sequence[Any]) -> "NodeInfo":
        """From ``INPUT_TYPES`` and ``RETURN_TYPES`` of a class, which ``/object_info`` gives as ``input`` and ``output``."""
        read = {
            name: _input(declared, required=kind == "required")
            for kind in ("required", "optional")
            for name, declared in inputs.get(kind, {}).items()
        }
        return cls(class_type, read, tuple(_type(each) for each in outputs))

    def defaults(self) -> dict[str, Any]:
        """Defaults of the required inputs that have one."""
        return {name: each.default for name, each in self.inputs.items() if each.required and each.default is not None}

    def input_of_type(self, kind: str) -> str | None:
        """Name of the first input of a type, None if there is none."""
        return next((name for name, each in self.inputs.items() if each.type == kind), None)

    def output(self, kind: str) -> int:
        """Index of the first output of a type.

        Raises:
            NodeError: there is none.
        """
        if kind not in self.outputs:
            raise NodeError(f"{self.class_type} has no output of type {kind}: this ComfyUI has another version of its node pack.")
        return self.outputs.index(kind)


# Answers for a class name; raises NodeError where ComfyUI has no such node.
Describe = Callable[[str], NodeInfo]


def no_such_node(class_type: str) -> NodeError:
    """The error for a class that ComfyUI does not have."""
    return NodeError(f"ComfyUI has no node {class_type}: install the node pack it belongs to, or update ComfyUI.")


def _input(declared: Any, *, required: bool) -> NodeInput:
    kind, *more = declared if isinstance(declared, list | tuple) else (declared,)
    options: Mapping[str, Any] = more[0] if more and isinstance(more[0], Mapping) else {}
    choices = kind if isinstance(kind, list | tuple) else options.get("options")
    default = options.get("default")
    if default is None and isinstance(choices, list | tuple) and choices:
        default = choices[0]  # the front-end selects the first
    return NodeInput(_type(kind), required, default, options.get("max"), options.get("multiline") is True)


def _type(declared: Any) -> str:
    return "COMBO" if isinstance(declared, list | tuple) else str(declared)
