#!/usr/bin/env bash
# Puts uv into .build/uv when the machine has none: from PyPI, into a private environment that nothing else uses.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.13.9                                    # raised by hand; any recent one works
if uv --version >/dev/null 2>&1; then exit 0; fi

echo "uv is missing: installing $version into .build/uv"
rm -rf .build/uv
# Debian's python3 comes without venv: the package that brings it is small.
if ! python3 -c 'import ensurepip' 2>/dev/null; then scripts/need.sh python3-venv; fi
python3 -m venv .build/uv
.build/uv/bin/pip install --quiet --disable-pip-version-check "uv==$version"
