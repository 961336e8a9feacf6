#!/usr/bin/env bash
# Every check there is, in the order that fails fastest: `tests/all.sh`.
#
# Needs Rust (with rustfmt and clippy), and root for the network namespaces that edges are cut off in. On Debian it
# installs whatever else is missing.
# Adding a check is adding a line at the end: step "what is checked" command arguments…
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/packages.sh

# No step takes longer, with nothing built yet and on two cores: one that does hangs.
limit=20m
started=$SECONDS
steps=0

# Runs one check, says how long it took, and ends the run when it fails.
step() {
    local name=$1 from=$SECONDS status=0
    shift
    printf '\n==> %s\n' "$name"
    # A child's status, rather than a function under `||`: that would switch `set -e` off inside the function.
    set +e
    (set -e; "$@")
    status=$?
    set -e
    if ((status != 0)); then
        printf '\nFAILED: %s (exit status %d, after %d s)\n' "$name" "$status" $((SECONDS - from)) >&2
        exit 1
    fi
    printf '<== %s: ok, %d s\n' "$name" $((SECONDS - from))
    steps=$((steps + 1))
}

# Runs a command, and ends it, and all it started, when the limit is over or the run is interrupted.
within_limit() {
    timeout --kill-after=10 "$limit" "$@" &
    local command=$!
    trap 'kill "$command"; exit 1' INT TERM
    wait "$command"
}

system_packages() {
    local more=()
    # On Debian, Python comes without the installer that its virtual environments need.
    python3 -c 'import ensurepip' 2>/dev/null || more+=(python3-venv)
    install_missing "${more[@]}" <<'NEEDED'
caddy caddy
cc gcc
chromium chromium
curl curl
ffmpeg ffmpeg
ip iproute2
nginx nginx
node nodejs
npm npm
nsenter util-linux
python3 python3
redis-server redis-server
unshare util-linux
valgrind valgrind
NEEDED
}

# The public suite against the edge server, every answer as expected.json has it, and the page that says so up to date.
conformance() {
    within_limit cargo build --release --locked -p edge-server
    local edge
    edge=$(realpath "${CARGO_TARGET_DIR:-target}/release/edge-server")
    cd tests/conformance
    [[ -d node_modules ]] || within_limit npm ci --ignore-scripts --no-audit --no-fund
    within_limit node run.mjs --edge "$edge"
    within_limit node report.mjs --check
}

export PATH="$PATH:/usr/sbin:/sbin" # nginx is there, and not in every user's path
export RUST_BACKTRACE=1
target=${CARGO_TARGET_DIR:-target}

step "system packages" system_packages
step "formatting" within_limit cargo fmt --all --check
step "clippy, warnings denied" \
    within_limit cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
step "documentation, broken links denied" \
    within_limit env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --locked
step "tests" within_limit cargo test --workspace --all-features --locked --no-fail-fast
step "edge server without its features" within_limit cargo test --locked -p edge-server --no-default-features --bins
step "a million operations, and each check of the log left out" \
    within_limit env TOWER_EDGE_OPERATIONS=1000000 cargo test --release --locked --features faults --test history
step "readers, writers and an operator for half a minute, over sockets" \
    within_limit env TOWER_EDGE_SECONDS=30 cargo test --release --locked --features faults --test sockets
step "the concurrent core in many orders" \
    within_limit env RUSTFLAGS="--cfg shuttle" cargo test --release --locked --lib --target-dir "$target/shuttle" race::
step "the rules against the RFCs, a million cases a property" \
    within_limit env TOWER_EDGE_CASES=1000000 cargo test --release --locked --test oracle
step "slices against a server with the whole object, a hundred thousand cases" \
    within_limit env TOWER_EDGE_CASES=100000 cargo test --release --locked --test slices
step "edge server in front of nginx and Caddy, and a PUT of a gigabyte" \
    within_limit cargo test --release --locked -p edge-server --test nginx --test caddy --test writes -- --ignored
step "video: played, live, in a browser, in slices" \
    within_limit cargo test --release --locked -p edge-server --test media -- --ignored --nocapture --test-threads=1
step "a log in Redis that is paused, killed, emptied and cut off" \
    within_limit cargo test --locked --all-features --test redis -- --ignored --test-threads=2
step "edge servers in one distribution, and what can go wrong with it" \
    within_limit cargo test --release --locked -p edge-server --test distribution --test server -- --ignored --nocapture
step "an object store as the origin, before s3s-fs and moto" \
    within_limit cargo test --locked -p s3-example --test wire -- --include-ignored
step "instructions of a hit and a miss" within_limit cargo bench --locked --bench instructions
step "hit ratio beside LRU" within_limit cargo test --release --locked --manifest-path benches/hit-ratio/Cargo.toml
step "conformance" conformance
step "the control port against its description" within_limit tests/control/schemathesis.sh

printf '\ntests/all.sh: %d steps passed in %d s\n' "$steps" $((SECONDS - started))
