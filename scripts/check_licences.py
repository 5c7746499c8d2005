"""Checks the licence of every installed Python package: what users get must be permissive, tools may be weak copyleft.

Of this interpreter's environment, or of the one whose directory is the argument, which holds tools alone. The licences
of the Rust crates are cargo-deny's business (deny.toml).
"""

import re
import sys
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PERMISSIVE = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "MIT-0",
    "PSF-2.0",
    "Unlicense",
    "Zlib",
}
# Fine in a tool that runs here and is shipped to nobody.
TOOLS_ONLY = {"CC0-1.0", "MPL-2.0"}
# Free-text answers of packages that do not state an SPDX expression.
SPELLINGS = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
}
# Packages whose metadata says nothing usable; each was read by hand.
READ_BY_HAND: dict[str, str] = {}


def licence(package: Distribution) -> str:
    """State the licence of `package` as an SPDX expression, or in its own words where those are not understood."""
    name = canonicalize_name(package.name)
    if name in READ_BY_HAND:
        return READ_BY_HAND[name]
    metadata = package.metadata
    if "License-Expression" in metadata:
        return metadata["License-Expression"]
    said = [
        entry.rsplit(" :: ", 1)[1]
        for entry in metadata.get_all("Classifier") or []
        if entry.startswith("License ::") and not entry.endswith("OSI Approved")
    ]
    if not said:
        said = metadata["License"].strip().splitlines()[:1] if "License" in metadata else ["nothing"]
    return " AND ".join(SPELLINGS.get(text.lower(), text) for text in said)


def is_allowed(expression: str, allowed: set[str]) -> bool:
    """Tell whether an SPDX expression can be met with `allowed` licences alone; brackets are not needed so far."""
    return all(
        any(choice.strip() in allowed for choice in re.split(r"\bOR\b", part))
        for part in re.split(r"\bAND\b", expression)
    )


def shipped(requirements: list[str]) -> set[str]:
    """Name every package that comes along with `requirements` (PEP 508), themselves included."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        requirement = Requirement(waiting.pop())
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        waiting += distribution(name).requires or []
    return found


def main() -> int:
    """Check an environment."""
    for_users: set[str] = set()
    packages = distributions()
    if sys.argv[1:]:
        packages = distributions(path=[str(path) for path in Path(sys.argv[1]).glob("lib/*/site-packages")])
    else:
        project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
        for_users = shipped(project["dependencies"])
    bad = []
    count = 0
    for package in packages:
        name = canonicalize_name(package.name)
        if name == "rtpcore":
            continue
        count += 1
        allowed = PERMISSIVE if name in for_users else PERMISSIVE | TOOLS_ONLY
        if not is_allowed(found := licence(package), allowed):
            bad.append(f"{name} {package.version}: {found}")
    for line in sorted(bad):
        print(f"licence not allowed: {line}", file=sys.stderr)
    if not count:
        bad.append("there is no package")
        print(f"no packages in {sys.argv[1:]}", file=sys.stderr)
    if not bad:
        print(f"licences ok: {count} Python packages, {len(for_users)} of them for users")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
