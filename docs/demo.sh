#!/bin/sh
# The main job in one go: train offline, see where the records are, start the daemon, ask it, look at
# the curves. Everything is kept in one folder, the daemon's state and the dashboard's store too; the
# daemon is stopped at the end.
set -eu
mkdir -p "${1:-demo}"
cd "${1:-demo}"
XDG_STATE_HOME=$PWD/state
TRACKIO_DIR=$PWD/dashboard
export XDG_STATE_HOME TRACKIO_DIR

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

say karaoke-train --fast_dev --offline
say karaoke-syncd start --detach
finish() {
    say karaoke-syncd stop
    say karaoke-syncd plot
    bin=$(dirname "$(command -v karaoke-syncd)")
    [ ! -e "$bin/activate" ] || printf "\nTo have these commands in this shell: . '%s/activate'" "$bin"
    printf "\nTo see it on wandb: wandb login, then karaoke-syncd sync --log_dir '%s/logs'\n" "$PWD"
    if [ -t 1 ]; then
        say karaoke-syncd view   # until Ctrl-C
    else
        say karaoke-syncd sync --destination trackio
        printf "To see it in a browser: cd '%s' && XDG_STATE_HOME='%s' TRACKIO_DIR='%s' karaoke-syncd view\n" \
            "$PWD" "$XDG_STATE_HOME" "$TRACKIO_DIR"
    fi
}
trap finish EXIT
say karaoke-syncd status || true   # its exit code says what waits; here that is the point
