"""The rows of the tables with words (`auditsvc.store.schema.words`), from `auditsvc.tables`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.store.schema import words as schema_words
from auditsvc.tables import arguments, effects, names, names_of_objects, shapes, verbs

if TYPE_CHECKING:
    from sqlalchemy import Table

    from auditsvc.decode.batch import Row

_SIGN = 1 << 63


def tables() -> list[tuple[Table, list[Row]]]:
    """Give the tables with their rows."""
    return [
        (schema_words.verb, [*_calls(), *_types(), *_operations()]),
        (
            schema_words.part_call,
            [
                (call, number, name)
                for call, parts in arguments.PARTS.items()
                for number, name in parts.items()
            ],
        ),
        (schema_words.argument_shape, _shapes()),
        (schema_words.value_word, _values()),
        (
            schema_words.flag_word,
            [
                (kind, place, bit, word)
                for kind, shape in shapes.SHAPES.items()
                for place, (bit, word) in enumerate(shape.flags.items())
            ],
        ),
    ]


def _calls() -> list[Row]:
    return [
        (
            *("call", name, verb.action, verb.object_kind),
            *(effects.OBJECT.get(name), effects.SECOND.get(name), effects.LINKS.get(name, "to")),
            *(effects.FILES.get(name), effects.CONNECTIONS.get(name), effects.CHANGES.get(name)),
        )
        for name, verb in verbs.CALLS.items()
    ]


def _types() -> list[Row]:
    return [
        (
            *("type", name, verb.action, verb.object_kind, None, None, "to", None, None),
            effects.CHANGES_BY_TYPE.get(name),
        )
        for name, verb in verbs.TYPES.items()
    ]


def _operations() -> list[Row]:
    return [
        (
            *("operation", name, verb.action, verb.object_kind, None, None),
            *(names_of_objects.BY_OPERATION.get(name, names_of_objects.Told()).link,),
            *(None, None, None),
        )
        for name, verb in verbs.OPERATIONS.items()
    ]


def _shapes() -> list[Row]:
    found: list[Row] = []
    for (call, place), kind in arguments.ARGUMENTS.items():
        shape = shapes.SHAPES.get(kind, shapes.Shape())
        bits = (_signed(each) for each in (shape.mask, shape.part, shape.rest))
        flags = bool(shape.flags)
        found.append((call, place, kind, *bits, int(flags), int(shape.last), shape.nothing))
    return found


def _signed(bits: int) -> int:
    """Give 64 bits as the databases have them."""
    return bits - 2 * _SIGN if bits & _SIGN else bits


def _values() -> list[Row]:
    named = {kind: shape.names for kind, shape in shapes.SHAPES.items()}
    named["uring"] = names.uring_ops()
    named["seccomp"] = arguments.SECCOMP_ACTIONS
    return [(kind, number, word) for kind, of in named.items() for number, word in of.items()]
