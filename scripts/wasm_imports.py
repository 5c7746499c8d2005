"""Lists what a WebAssembly module asks of its host; fails if that is not allowed (WebAssembly core spec §5.5.5).

Reads the import section by hand: it is forty lines, and no machine here brings a tool that does it.
"""

import argparse
import sys
from pathlib import Path

IMPORT_SECTION = 2
FUNCTION, TABLE, MEMORY, GLOBAL, TAG = range(5)


class Reader:
    """Walks over the bytes of a module."""

    def __init__(self, data: bytes) -> None:
        """Start at the first byte of `data`."""
        self.data = data
        self.at = 0

    def byte(self) -> int:
        """Read one byte; raises IndexError past the end."""
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        """Read an unsigned LEB128 number."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def name(self) -> str:
        """Read a length and so many bytes of UTF-8."""
        length = self.number()
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def limits(self) -> None:
        """Skip the limits of a memory or table."""
        flags = self.number()
        self.number()
        if flags & 1:
            self.number()


def imports(module: bytes) -> list[str]:
    """Name what `module` imports, as `module.field`; raises ValueError if it is no WebAssembly module."""
    if module[:8] != b"\0asm\1\0\0\0":
        raise ValueError("not a WebAssembly module of version 1")
    reader = Reader(module)
    reader.at = 8
    while reader.at < len(module):
        section, size = reader.byte(), reader.number()
        if section != IMPORT_SECTION:
            reader.at += size
            continue
        return [read_import(reader) for _ in range(reader.number())]
    return []


def read_import(reader: Reader) -> str:
    """Read one import and name it."""
    name = f"{reader.name()}.{reader.name()}"
    kind = reader.byte()
    if kind in (FUNCTION, TAG):
        if kind == TAG:
            reader.byte()
        reader.number()
    elif kind in (TABLE, MEMORY):
        if kind == TABLE:
            reader.byte()
        reader.limits()
    elif kind == GLOBAL:
        reader.byte()
        reader.byte()
    else:
        raise ValueError(f"import {name} is of unknown kind {kind}")
    return name


def main() -> int:
    """Check the module named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module", type=Path)
    parser.add_argument("--allow", action="append", default=[], help="an import that is fine, as module.field")
    arguments = parser.parse_args()

    module = arguments.module.read_bytes()
    found = imports(module)
    unexpected = [name for name in found if name not in arguments.allow]
    for name in unexpected:
        print(f"wasm: {arguments.module.name} imports {name}", file=sys.stderr)
    if unexpected:
        return 1
    print(f"wasm: {arguments.module.name} ({len(module):,} bytes) imports {', '.join(found) or 'nothing'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
