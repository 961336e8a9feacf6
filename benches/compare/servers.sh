#!/usr/bin/env bash
# The edge server beside nginx, Varnish, Traffic Server and a bare hyper server: `benches/compare/servers.sh [--quick | --page]`.
#
# Prints one table. Takes about ten minutes, on a machine that does nothing else and has two cores or more; --quick takes
# two minutes and is for trying. --page also measures the crates in process, and writes docs/performance.md and its plot.
# On Debian it installs what is missing, as root or by sudo. It ends what it started, and nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

quick=() page=false
for argument in "$@"; do
    case $argument in
        --quick) quick=(--quick) ;;
        --page) page=true ;;
        *)
            echo "servers.sh: $argument: not --quick, nor --page" >&2
            exit 2
            ;;
    esac
done

export PATH="$PATH:/usr/sbin:/sbin" # nginx and varnishd are there, and not in every user's path
source ../../tests/packages.sh
(
    install_missing <<'NEEDED'
cc gcc
cmake cmake
h2load nghttp2-client
nginx nginx
taskset util-linux
traffic_server trafficserver
varnishd varnish
wrk wrk
NEEDED
)

here=$PWD
results=$here/target/results
mkdir -p "$results"
(cd ../.. && cargo build --profile dist --locked -p edge-server)
cargo build --profile dist --locked -p servers
edge=$(cd ../.. && realpath "${CARGO_TARGET_DIR:-target}/dist/edge-server")
tools=$(realpath "${CARGO_TARGET_DIR:-target}/dist")

if $page; then
    # First, so that nothing is built once the measuring has begun.
    cargo build --release --locked
    "$(realpath "${CARGO_TARGET_DIR:-target}/release")/tower-edge-compare" "${quick[@]}" --json "$results/crates.json"
fi
"$tools/servers" "${quick[@]}" --edge "$edge" --json "$results/servers.json"
if $page; then
    "$tools/page" "$results/servers.json" "$results/crates.json" ../../docs
fi
