"""Any message of a type, as protobuf could carry it."""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor as F
from hypothesis import strategies as st

from rtpcore.wire.messages import Message

M = TypeVar("M", bound=Message)

TEXT = st.text(max_size=12)
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    F.TYPE_STRING: TEXT,
    F.TYPE_BYTES: st.binary(max_size=12),
    F.TYPE_BOOL: st.booleans(),
    F.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    F.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    F.TYPE_UINT32: st.integers(0, 2**32 - 1),
    F.TYPE_UINT64: st.integers(0, 2**64 - 1),
    F.TYPE_FLOAT: st.floats(width=32, allow_nan=False),
    F.TYPE_DOUBLE: st.floats(allow_nan=False),
}


@st.composite
def messages(draw: st.DrawFn, kind: type[M], depth: int = 3) -> M:
    """A message of `kind` with some fields set, and messages in it up to `depth`."""
    message = kind()
    descriptor = kind.DESCRIPTOR
    chosen = draw(st.lists(st.sampled_from(list(descriptor.fields)), max_size=4, unique_by=lambda f: f.number))
    for field in chosen:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            value = field.message_type.fields_by_name["value"]
            key = field.message_type.fields_by_name["key"]
            for name in draw(st.lists(scalars(key), max_size=2)):
                if value.message_type is None:
                    getattr(message, field.name)[name] = draw(scalars(value))
                else:
                    getattr(message, field.name)[name].SetInParent()
        elif field.message_type is not None:
            count = draw(st.integers(0, 2)) if field.is_repeated else 1
            for _ in range(count if depth else 0):
                inner = getattr(message, field.name)
                target = inner.add() if field.is_repeated else inner
                target.CopyFrom(draw(messages(type(target), depth - 1)))
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(scalars(field), max_size=3)))
        else:
            setattr(message, field.name, draw(scalars(field)))
    return message


def scalars(field: F) -> st.SearchStrategy[Any]:
    """A value for a field that is no message."""
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return SCALARS[field.type]
