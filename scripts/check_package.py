"""Checks the wheel and the source archive in a directory: complete, nothing extra, installable and importable."""

import importlib
import pkgutil
import sys
import tarfile
import zipfile
from pathlib import Path

WHEEL_MUST_HAVE = {
    "rtpcore/__init__.py",
    "rtpcore/_core.pyi",
    "rtpcore/py.typed",
    "rtpcore/_core.abi3.so",
    "rtpcore/page/room/index.html",
    "rtpcore/page/vendor/livekit-client.js",
    "rtpcore/page/vendor/livekit-client.LICENSE.txt",
}
SOURCE_MUST_HAVE = {
    "Cargo.lock",
    "LICENSE",
    "README.md",
    "pyproject.toml",
    "python/rtpcore/page/vendor/livekit-client.js",
    "python/rtpcore/page/vendor/livekit-client.LICENSE.txt",
    "rust/core/src/lib.rs",
    "rust/py/src/lib.rs",
}
# A binary that slipped in would be installed instead of the one that is built.
SOURCE_MUST_NOT_END_WITH = (".so", ".pyc", ".whl")


def only(directory: Path, pattern: str) -> Path:
    """Find the one file that matches `pattern`; raises ValueError if there are none or several."""
    (found,) = directory.glob(pattern)
    return found


def check_wheel(wheel: Path) -> list[str]:
    """Say what is wrong with `wheel`."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wrong = [f"{wheel.name} lacks {name}" for name in sorted(WHEEL_MUST_HAVE - names)]
    if not any(name.endswith("/licenses/LICENSE") for name in names):
        wrong.append(f"{wheel.name} lacks the licence")
    wrong += [
        f"{wheel.name} has {name}" for name in names if not name.startswith(("rtpcore/", "rtpcore-", "rtpcore.libs/"))
    ]
    if "-cp310-abi3-" not in wheel.name:
        wrong.append(f"{wheel.name} does not serve every CPython from 3.10 on")
    return wrong


def check_source(source: Path) -> list[str]:
    """Say what is wrong with `source`."""
    with tarfile.open(source) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    wrong = [f"{source.name} lacks {name}" for name in sorted(SOURCE_MUST_HAVE - names)]
    return wrong + [f"{source.name} has {name}" for name in sorted(names) if name.endswith(SOURCE_MUST_NOT_END_WITH)]


def check_imports() -> list[str]:
    """Import every module of the installed package; say which cannot be with what it declares to need."""
    package = importlib.import_module("rtpcore")
    wrong = []
    for module in pkgutil.walk_packages(package.__path__, "rtpcore."):
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            wrong.append(f"import {module.name}: {error}")
    return wrong


def main() -> int:
    """Check the directory named on the command line."""
    directory = Path(sys.argv[1])
    wheel, source = only(directory, "*.whl"), only(directory, "*.tar.gz")
    wrong = check_wheel(wheel) + check_source(source) + check_imports()
    for line in wrong:
        print(f"package: {line}", file=sys.stderr)
    if not wrong:
        print(f"package: {wheel.name} ({wheel.stat().st_size:,} bytes) and {source.name} are complete")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
