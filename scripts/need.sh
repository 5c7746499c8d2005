#!/usr/bin/env bash
# Makes sure that the machine has what a verb needs beyond Python and Rust: `need.sh chromium valgrind`.
#
# What is there already, from whatever source, is taken as it is. What is missing comes from Debian's packages, in one
# apt-get run, when this user is root or has a sudo that asks no password; anyone else is told what to install.
set -euo pipefail

# Is $1 here? Answers in milliseconds: it runs before every verb that needs something.
present() {
  case $1 in
    chromium) command -v chromium ;;
    c++) command -v c++ || command -v g++ || command -v clang++ ;;
    gstreamer) compgen -G '/usr/lib/*/gstreamer-1.0/libgstnice.so' && /usr/bin/python3 -c "$use_webrtcbin" ;;
    libsrtp2) ldconfig -p | grep -F 'libsrtp2.so' ;;
    libssl) pkg-config --exists libssl ;;
    python3-venv) python3 -c 'import ensurepip' ;;
    *) command -v "$1" ;;
  esac >/dev/null 2>&1
}

use_webrtcbin='
import gi
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GstWebRTC
'

# The Debian packages that bring $1.
package() {
  case $1 in
    c++) echo g++ ;;
    go) echo golang-go ;;
    gstreamer) echo gstreamer1.0-{nice,plugins-bad,plugins-base,plugins-good} gir1.2-gst-plugins-bad-1.0 python3-gi ;;
    libsrtp2) echo libsrtp2-dev ;;
    libssl) echo libssl-dev pkg-config ;;
    *) echo "$1" ;;
  esac
}

missing=()
packages=()
for name in "$@"; do
  if ! present "$name"; then
    missing+=("$name")
    read -ra brought_by <<<"$(package "$name")"
    packages+=("${brought_by[@]}")
  fi
done
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi

if ! command -v apt-get >/dev/null; then
  echo "missing: ${missing[*]}; install them and run this again" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  as_root=(sudo -n)
  if ! sudo -n true 2>/dev/null; then
    echo "missing: ${missing[*]}; run: sudo apt-get install ${packages[*]}" >&2
    exit 1
  fi
fi

install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${packages[@]}")
echo "installing from Debian's packages: ${packages[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The package lists of a fresh machine are empty or old; fetching them is only worth it when the first try fails.
if ! "${install[@]}" >"$log" 2>&1 && ! { "${as_root[@]}" apt-get update && "${install[@]}"; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  exit 1
fi
for name in "${missing[@]}"; do
  if ! present "$name"; then
    echo "apt-get installed $(package "$name"), but $name is still not here" >&2
    exit 1
  fi
done
