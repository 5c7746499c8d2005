#!/usr/bin/env bash
# Puts one cargo tool of one version into .build/tools/bin: `get-cargo-tool.sh cargo-deny 0.20.2`.
#
# The same version on PATH is linked instead of built. Built without optimisation or debug information: these tools run for
# a second, and compiling them is what takes the time (cargo-deny: two minutes on two cores).
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1 version=$2

mkdir -p .build/tools/bin
if found=$(command -v "$name") && "$name" --version 2>/dev/null | grep -qF " $version"; then
  ln -sf "$found" ".build/tools/bin/$name"
else
  echo "building $name $version, once"
  env -u RUSTFLAGS CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=.build/tools/target \
    cargo install "$name" --version "$version" --locked --debug --quiet --force --root .build/tools
  rm -rf .build/tools/target
fi
