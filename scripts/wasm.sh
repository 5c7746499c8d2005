#!/usr/bin/env bash
# Builds rust/core for wasm32-unknown-unknown and fails if the result asks its host for more than entropy.
#
# There is no operating system on that target, so this proves that the core opens no socket, starts no thread and reads no
# clock behind our back. The standard library for the target comes from rustup; where rustup cannot
# fetch it, it is compiled from Debian's Rust packages (their own compiler with the source that fits it, unpacked into
# .build/, nothing is installed; 145 MB and a minute, once).
set -euo pipefail
cd "$(dirname "$0")/.."

target=wasm32-unknown-unknown
packages=(rustc-web cargo-web rust-web-src)

installed() { [ -d "$(rustc --print target-libdir --target $target 2>/dev/null)" ]; }

# Unpacks into $1 Debian's compiler with those of its libraries that this machine lacks.
unpack_debian_rust() {
  local root=$1 missing
  rm -rf "$root" "$root.part"
  mkdir -p "$root.part/packages"
  missing=$(apt-get --simulate install --no-install-recommends "${packages[@]}" | awk '$1 == "Inst" { print $2 }')
  (cd "$root.part/packages" && apt-get download --quiet $missing) >/dev/null 2>&1
  for deb in "$root.part"/packages/*.deb; do dpkg -x "$deb" "$root.part"; done
  rm -rf "$root.part/packages"
  mv "$root.part" "$root"
}

cargo=(cargo)
std=()
if ! installed && command -v rustup >/dev/null; then rustup --quiet target add $target 2>/dev/null || true; fi
if ! installed; then
  root=$PWD/.build/debian-rust
  if [ ! -d "$root" ]; then
    known() { apt-cache show "${packages[@]}" >/dev/null 2>&1; }
    if ! known && [ "$(id -u)" -eq 0 ]; then apt-get update >/dev/null 2>&1 || true; fi
    if ! known; then
      echo "wasm: NOT CHECKED here: this machine has no $target, and neither rustup nor apt-get can bring it" >&2
      exit 0
    fi
    echo "wasm: compiling the standard library for $target from Debian's packages, once"
    unpack_debian_rust "$root"
  fi
  linker=$(rustc --print target-libdir)/../bin/rust-lld     # of the toolchain at hand: Debian's compiler comes without
  export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$linker
  export LD_LIBRARY_PATH=$root/usr/lib/$(cc -print-multiarch):$root/usr/lib
  # The unstable flag is the one that builds the standard library; the core itself uses nothing unstable.
  export RUSTC_BOOTSTRAP=1 RUSTC=$root/usr/bin/rustc
  cargo=("$root/usr/bin/cargo")
  std=(-Zbuild-std=std,panic_abort)
fi

# getrandom will not build for a target without entropy unless told who brings it: `custom` is "the embedding program", and
# shows as the one import allowed below. DTLS draws its keys from there; everything else in the core lives on the seed it is given.
# Dependencies unoptimised: only what they call is of interest, and optimising them takes minutes.
# Nothing is left out as unused: what no caller reaches today must be as pure as the rest.
export RUSTFLAGS='--cfg getrandom_backend="custom"'
"${cargo[@]}" rustc --quiet "${std[@]}" --package rtpcore-core --lib --crate-type cdylib --target $target \
  --target-dir .build/wasm --config 'profile.dev.package."*".opt-level=0' --config 'profile.dev.debug=false' \
  -- -Clink-dead-code -Clink-arg=--no-gc-sections -Clink-arg=--import-undefined
python3 scripts/wasm_imports.py .build/wasm/$target/debug/rtpcore_core.wasm --allow env.__getrandom_v03_custom
