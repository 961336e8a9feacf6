# Debian packages, for scripts that need more than Rust: sourced, not run.

# Installs the packages it is given, and of those on its input, each a line with a command and the package that has it, the
# ones whose command is missing. It starts none of their services: tests and benches run their own, with their own
# configuration and port. To be called in a subshell, at whose end it clears up.
install_missing() {
    local packages=("$@") command package
    while read -r command package; do
        command -v "$command" >/dev/null || packages+=("$package")
    done
    if ((${#packages[@]} == 0)); then
        echo "nothing is missing"
        return
    fi
    if ! command -v apt-get >/dev/null; then
        echo "$0: no apt-get here; install by hand, then run again: ${packages[*]}" >&2
        return 1
    fi

    # Debian asks policy-rc.d before it starts a service (invoke-rc.d(8)): 101 is no. One that is there stays.
    local policy=/usr/sbin/policy-rc.d
    if [[ ! -e $policy ]]; then
        as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
        # As soon as the subshell ends, however it ends.
        trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${packages[@]}" libc6-dev
}

as_root() {
    if [[ $(id -u) == 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -- "$@"
    else
        echo "$0: not root and no sudo; install by hand, then run again: $*" >&2
        return 1
    fi
}
