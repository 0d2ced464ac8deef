# Sourced by the scripts and by .ci/run: says what is missing, installs it where it can, sets CARGO_TARGET_DIR.
# Bash. The caller has changed to the root of the repository and has `set -euo pipefail`.

WARREN_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/warren
# One target directory over all checkouts, so that RocksDB (a quarter of an hour on two cores) is built once.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$WARREN_CACHE/target}
export PYTHONDONTWRITEBYTECODE=1

say() { printf '== %s\n' "$*"; }
fail() {
    printf '!! %s\n' "$@" >&2
    exit 1
}

# Runs a command as root, or says that somebody must.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "there is no sudo. As root, run: $*"
    fi
}

# Reads the package lists, once.
refresh_packages() {
    [ -z "${WARREN_REFRESHED:-}" ] || return 0
    WARREN_REFRESHED=1
    as_root apt-get update -qq || say "apt-get update failed; going on with the lists that are there"
}

# Installs Debian packages, or says what to install.
install_packages() {
    command -v apt-get >/dev/null || fail "missing: $*" \
        "This is not Debian or Ubuntu: install the same with your own package manager" \
        "(a C++20 compiler, libclang with its headers, protoc, Python 3 with venv) and run this again."
    say "installing $* with apt-get"
    refresh_packages
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
        fail "apt-get could not install: $*"
}

# Is version $1 at least $2?
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# The version of a package that apt would install; nothing when there is none.
candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: *\([0-9][0-9.]*\).*/\1/p'; }
cargo_version() { cargo --version 2>/dev/null | cut -d ' ' -f 2; }

# A C++ compiler and libclang for RocksDB, protoc for the messages of Raft, and a cargo that is new enough.
need_build_tools() {
    local missing=() wanted found
    command -v c++ >/dev/null || missing+=(g++)
    if [ "$(uname)" = Linux ] && [ -z "${LIBCLANG_PATH:-}" ] &&
        ! compgen -G '/usr/lib/llvm*/lib/libclang.so' >/dev/null && ! compgen -G '/usr/lib*/libclang.so' >/dev/null; then
        missing+=(libclang-dev)
    fi
    [ -n "${PROTOC:-}" ] || command -v protoc >/dev/null || missing+=(protobuf-compiler)
    [ -e /etc/ssl/certs/ca-certificates.crt ] || [ ! -e /etc/debian_version ] || missing+=(ca-certificates)
    [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"

    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
    found=$(cargo_version) || true
    [ -n "$found" ] && at_least "$found" "$wanted" || need_cargo "$wanted" "${found:-none}"
    mkdir -p "$CARGO_TARGET_DIR"
}

# From the distribution's own packages when one is new enough, never from a script of the network.
need_cargo() {
    local wanted=$1 found=$2 packaged
    [ "$found" != none ] || ! command -v apt-get >/dev/null || refresh_packages
    packaged=$(candidate cargo) || true
    if [ "$found" = none ] && [ -n "$packaged" ] && at_least "$packaged" "$wanted"; then
        install_packages cargo
    elif [ "$found" = none ] && [ -n "$(candidate rustup || true)" ]; then
        install_packages rustup
        rustup toolchain install stable --profile minimal --component clippy --component rustfmt
        rustup default stable
    fi
    found=$(cargo_version) || true
    [ -n "$found" ] && at_least "$found" "$wanted" ||
        fail "Warren needs cargo $wanted or newer; found: ${found:-none}." \
            "Get it from https://rustup.rs (or, with rustup: rustup update stable) and run this again."
}

# A Chromium that can be driven, for the tests of the web UI; false, with the reason, when there is none to be had.
find_browser() {
    local name
    for name in chromium chromium-browser google-chrome chrome; do
        command -v "$name" >/dev/null && command -v chromedriver >/dev/null && return
    done
    if [ -z "$(candidate chromium-driver || true)" ]; then
        say "no Chromium: this system has no package chromium-driver; install Chromium and chromedriver by hand"
        return 1
    fi
    # In a shell of its own: a failure here leaves out these tests, not all of them.
    (install_packages chromium chromium-driver) || return 1
}

# Python with the packages of the tests, in an environment of its own: $WARREN_PYTHON.
need_python() {
    local lists=(amqp-tests/python/requirements.txt amqp-tests/ui/requirements.txt) environment=$WARREN_CACHE/python
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3 python3-venv
    WARREN_PYTHON=$environment/bin/python
    if ! cat "${lists[@]}" | cmp -s - "$environment/requirements.txt" || ! "$WARREN_PYTHON" -c '' 2>/dev/null; then
        say "making the Python environment $environment"
        mkdir -p "$WARREN_CACHE"
        python3 -m venv --clear "$environment"
        "$WARREN_PYTHON" -m pip install --quiet --disable-pip-version-check "${lists[@]/#/--requirement=}"
        cat "${lists[@]}" >"$environment/requirements.txt"
    fi
}

# Starts the broker that was built, with its data and log in the folder $1, on a port that the system gives it, and waits
# until it says which one: sets broker, address and management.
start_broker() {
    "$CARGO_TARGET_DIR/release/warren" server --bind 127.0.0.1:0 --management-bind 127.0.0.1:0 --metrics-bind 127.0.0.1:0 \
        --data-dir "$1/data" --log warn \
        >"$1/broker.log" 2>&1 &
    broker=$!
    for _ in $(seq 300); do
        address=$(sed -n 's/^warren is listening on \([^ ]*\) (AMQP 0-9-1)/\1/p' "$1/broker.log")
        management=$(sed -n 's/^warren is listening on \([^ ]*\) (HTTP, management)/\1/p' "$1/broker.log")
        [ -z "$address" ] || return 0
        kill -0 "$broker" 2>/dev/null || break
        sleep 0.1
    done
    cat "$1/broker.log"
    say "the broker did not start"
    return 1
}

# Asks the process $broker to end, and makes it end after ten seconds.
end_broker() {
    kill "$broker" 2>/dev/null || true
    for _ in $(seq 100); do
        kill -0 "$broker" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -9 "$broker" 2>/dev/null || true
}
