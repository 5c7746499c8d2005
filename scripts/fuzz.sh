#!/usr/bin/env bash
# Fuzzes every target of fuzz/ for a short while: `fuzz.sh [TARGET...]`.
#
# FUZZ_SECONDS  at most so long for one target (15)
# FUZZ_RUNS     at most so many inputs for one target (200000)
#
# libFuzzer needs no nightly compiler: the coverage it steers by is an LLVM pass that stable rustc can be told to run. What
# nightly would add is AddressSanitizer, which finds little in crates that forbid unsafe code; nightly.yml runs that too.
# The seeds in fuzz/seeds/TARGET run first. What is found on the way stays in fuzz/corpus (not committed); an input that
# fails is kept in fuzz/artifacts, and the run ends with its error. Once the bug is mended it belongs in fuzz/seeds.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

seconds=${FUZZ_SECONDS:-15} runs=${FUZZ_RUNS:-200000}
host=$(rustc -vV | sed -n 's/^host: //p')
flags=(
  --cfg fuzzing
  -Cpasses=sancov-module
  -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares
  -Ccodegen-units=1                               # one unit per crate is less to compile in all
  -Cdebug-assertions -Coverflow-checks
)
# With --target the flags stay off build scripts and macros, which have no fuzzer to link against.
RUSTFLAGS="${flags[*]}" cargo build --release --bins --target "$host" ${CI:+--locked}

if [ $# -eq 0 ]; then
  for source in targets/*.rs; do set -- "$@" "$(basename "$source" .rs)"; done
fi

limits=(-seed=1 "-runs=$runs" "-max_total_time=$seconds" -max_len=4096 -timeout=5 -rss_limit_mb=1024 -print_final_stats=1)
for target in "$@"; do
  mkdir -p "corpus/$target" "artifacts/$target" "seeds/$target"
  log=$(mktemp)
  if "target/$host/release/$target" "${limits[@]}" -artifact_prefix="artifacts/$target/" \
    "corpus/$target" "seeds/$target" >"$log" 2>&1; then
    executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    echo "fuzz $target: ok, $executed inputs, $(find "seeds/$target" -type f | wc -l) seeds"
    rm -f "$log"
  else
    tail -n 60 "$log"
    echo "fuzz $target: FAILED; the input is in fuzz/artifacts/$target" >&2
    rm -f "$log"
    exit 1
  fi
done
