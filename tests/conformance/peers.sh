#!/bin/sh
# Measures the peers, and the edge server if it is built, and regenerates docs/conformance.md.
# Needs Debian or Ubuntu, and root to install what is missing. No service is started by it.
set -eu
cd "$(dirname "$0")"

missing=""
for package in nginx varnish squid trafficserver apache2; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    # Debian's packages start their service when installed, unless this says no.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
fi

[ -d node_modules ] || npm ci --ignore-scripts
mkdir -p results
for peer in nginx varnish squid trafficserver apache; do
    node run.mjs --proxy "$peer" --json "results/$peer.json"
done
status=0
edge=../../target/release/edge-server
if [ -x "$edge" ]; then
    # What differs from expected.json is printed, and written down as measured all the same.
    node run.mjs --json results/edge.json || status=$?
fi
node report.mjs
exit "$status"
