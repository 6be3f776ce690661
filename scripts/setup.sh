# Sourced by demo and test: makes .venv with this checkout and its dependencies, once per pyproject.toml.
# shellcheck shell=sh
# Usage: . scripts/setup.sh; setup EXTRA   (EXTRA: "" or "dev")

setup() {
    python=${PYTHON:-python3}
    if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "moby needs Python 3.11 or newer; set PYTHON to one" >&2
        return 1
    fi
    # Whoever develops has all that a user needs.
    stamp=.venv/stamp-user
    if [ -n "$1" ] || [ -f .venv/stamp-dev ]; then stamp=.venv/stamp-dev; fi
    extra=
    if [ "$stamp" = .venv/stamp-dev ]; then extra='[dev]'; fi
    wanted=$(cat pyproject.toml - <<EOF | "$python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())'
$(pwd) $("$python" -V)
EOF
    )
    if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
        return 0
    fi
    echo "setting up .venv …" >&2
    if ! "$python" -m venv .venv >.venv.log 2>&1; then
        rm -rf .venv
        if grep -q ensurepip .venv.log; then
            echo "please install python3-venv (apt-get install python3-venv) and run this again" >&2
        else
            cat .venv.log >&2
        fi
        rm -f .venv.log
        return 1
    fi
    rm -f .venv.log
    .venv/bin/pip install --quiet --disable-pip-version-check --editable ".$extra"
    echo "$wanted" >"$stamp"
}
