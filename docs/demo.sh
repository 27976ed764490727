#!/bin/sh
# The main job in one go: train offline, see where the records are, start the daemon, ask it.
# Everything is kept in one folder, the daemon's state too; the daemon is stopped at the end.
set -eu
mkdir -p "${1:-demo}"
cd "${1:-demo}"
XDG_STATE_HOME=$PWD/state
export XDG_STATE_HOME

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

say karaoke-train --fast_dev --offline
say karaoke-syncd start --detach
finish() {
    say karaoke-syncd stop
    printf '\nTo see it on wandb: wandb login, then karaoke-syncd sync --log_dir %s/logs\n' "$PWD"
}
trap finish EXIT
say karaoke-syncd status || true   # its exit code says what waits; here that is the point
