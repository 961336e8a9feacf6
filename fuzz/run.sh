#!/usr/bin/env bash
# Fuzzes every target for a while, two at a time: `fuzz/run.sh SECONDS [TARGET…]`, on the stable compiler.
#
# Needs cargo-fuzz (cargo install cargo-fuzz --locked). New inputs stay in fuzz/corpus, findings in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:?usage: fuzz/run.sh SECONDS [TARGET…]}
shift
targets=("$@")
if ((${#targets[@]} == 0)); then
    mapfile -t targets < <(ls fuzz/seeds)
fi

# There is no unsafe code here to sanitize, and sanitizers need a nightly compiler.
cargo fuzz build --sanitizer none

fuzz() {
    local target=$1 log
    log=$(mktemp)
    mkdir -p "fuzz/corpus/$target"
    if cargo fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -max_len=1024 -timeout=5 >"$log" 2>&1; then
        echo "$target: $(grep -a '^Done' "$log")"
    else
        tail -n 60 "$log"
        echo "$target: FAILED"
        return 1
    fi
    rm -f "$log"
}
export -f fuzz
export seconds

printf '%s\n' "${targets[@]}" | xargs -P 2 -I TARGET bash -c 'fuzz TARGET'
