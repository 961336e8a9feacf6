#!/usr/bin/env bash
# Whether the edge server's control port is what its OpenAPI description says: `tests/control/schemathesis.sh`.
#
# Starts a server on free ports, lets schemathesis make requests of its description, right ones and wrong ones, and stops
# the server. Needs Python 3 with venv, and curl. EDGE names another binary, SEED another seed, CASES another number of requests
# for each operation. What schemathesis is told is in schemathesis.toml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

target=$(realpath "${CARGO_TARGET_DIR:-target}")
edge=$(realpath "${EDGE:-$target/release/edge-server}")
venv=$target/schemathesis
wanted=tests/control/requirements.txt

if ! cmp -s "$wanted" "$venv/installed.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$wanted"
    cp "$wanted" "$venv/installed.txt"
fi

work=$(mktemp -d)
server=
finish() {
    if [[ -n $server ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

(umask 077 && head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$work/token")
"$edge" --listen 127.0.0.1:0 --control 127.0.0.1:0 --control-token-file "$work/token" \
    >"$work/addresses" 2>"$work/log" &
server=$!
for _ in $(seq 100); do
    grep -q '^control' "$work/addresses" && break
    sleep 0.1
done
public=$(sed -n 's/^edge *//p' "$work/addresses")
control=$(sed -n 's/^control *//p' "$work/addresses")
[[ -n $control ]] || { cat "$work/log" >&2; exit 1; }

# So that the description's example of a URL is stored, in two variants.
for language in de fr; do
    curl -fsS -o /dev/null -H 'Host: www.example.com' -H "Accept-Language: $language" "$public/hello"
done

token=$(cat "$work/token")
status=0
config=$PWD/tests/control/schemathesis.toml
# It keeps notes of failures where it runs.
cd "$work"
"$venv/bin/schemathesis" --config-file "$config" run "$control/openapi.json" --checks all \
    --header "Authorization: Bearer $token" --seed "${SEED:-1}" --max-examples "${CASES:-150}" || status=$?
kill -0 "$server" || { echo "the server has ended" >&2; status=1; }
if grep -q panicked "$work/log"; then
    cat "$work/log" >&2
    status=1
fi
exit "$status"
