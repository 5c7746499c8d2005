#!/usr/bin/env bash
# Builds the wheel and the source archive, and checks what a user would get from each.
set -euo pipefail
cd "$(dirname "$0")/.."

rm -rf .build/package
mkdir -p .build/package
.venv/bin/maturin build --release --quiet --out .build/package
.venv/bin/maturin sdist --out .build/package

# Into an environment with nothing else in it, away from this directory: with its declared dependencies it must be complete.
uv venv --quiet --no-project --python .venv/bin/python .build/package/venv
VIRTUAL_ENV=$PWD/.build/package/venv uv pip install --quiet --constraint requirements/dev.txt .build/package/*.whl
.build/package/venv/bin/python -I scripts/check_package.py .build/package
