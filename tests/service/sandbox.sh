#!/bin/bash
# A machine of its own for `systemd --user`: run by sandbox.py as root, in new mount and process
# namespaces. Arguments: uid, home, folder for this script's words, folders that hide things from the
# user, --, paths that have to be seen all the same.
set -eu
uid=$1 home=$2 words=$3
shift 3
# Tests may be run by `nice`; a user manager is not, and can't ask for another scheduling policy then
renice -n 0 -p $$ > /dev/null
top=karaoketest-$(stat -c %i "$home").slice
# journald tells a unit by this path
group=$top/user-$uid.slice/user@$uid.service

mount -t tmpfs -o mode=755 tmpfs /run
# What PID 1 would have made there
mkdir -p /run/credentials /run/systemd/{system,journal,journald.conf.d,unit-root,empty,propagate,incoming,units} \
    "/run/user/$uid"
chmod 700 "/run/user/$uid"
chown "$uid:$uid" "/run/user/$uid"

# Folders that only their owner can enter (/root, a temporary one) hide what the user has to see:
# others in their place, with nothing but that in them
mkdir /run/keep
while [[ $1 != -- ]]; do
    wall=$1 kept=0
    shift
    for path in "${@}"; do
        [[ $path == "$wall"/* ]] || continue
        mkdir "/run/keep/$kept"
        mount --bind "$path" "/run/keep/$kept"
        kept=$((kept + 1))
    done
    mount -t tmpfs -o mode=755 tmpfs "$wall"
    kept=0
    for path in "${@}"; do
        [[ $path == "$wall"/* ]] || continue
        mkdir -p "$path"
        mount --move "/run/keep/$kept" "$path"
        rmdir "/run/keep/$kept"
        kept=$((kept + 1))
    done
done

{ cat /etc/passwd; echo "karaoke:x:$uid:$uid::$home:/bin/sh"; } > /run/passwd
mount --bind /run/passwd /etc/passwd
[[ -s /etc/machine-id ]] || {
    echo 0123456789abcdef0123456789abcdef > /run/machine-id
    touch /etc/machine-id
    mount --bind /run/machine-id /etc/machine-id
}

# The manager's own group, in the hierarchy where systemd looks for it: unified, or name=systemd
groups=()
for root in /sys/fs/cgroup/unified /sys/fs/cgroup/systemd /sys/fs/cgroup; do
    [[ -w $root/cgroup.procs ]] || continue
    mkdir -p "$root/$group"
    chown -R "$uid:$uid" "$root/$top"
    groups+=("$root/$group")
done

mkdir -p /var/log/journal
mount -t tmpfs -o mode=755 tmpfs /var/log/journal
touch /run/systemd/journal/flushed
printf '[Journal]\nStorage=persistent\nReadKMsg=no\nAudit=no\nRateLimitBurst=0\nSyncIntervalSec=1\n' \
    > /run/systemd/journald.conf.d/test.conf
/lib/systemd/systemd-journald 2> "$words/journald" &

# Not the environment of whoever runs the tests. This shell stays outside of the group, since
# journald takes paths from the first process's group on.
(
    for path in "${groups[@]}"; do
        echo "$BASHPID" > "$path/cgroup.procs"
    done
    exec env -i setpriv --reuid="$uid" --regid="$uid" --clear-groups --inh-caps=-all \
        env HOME="$home" USER=karaoke LOGNAME=karaoke SHELL=/bin/sh LANG=C.UTF-8 \
        PATH=/usr/local/bin:/usr/bin:/bin \
        XDG_RUNTIME_DIR="/run/user/$uid" DBUS_SESSION_BUS_ADDRESS="unix:path=/run/user/$uid/bus" \
        /lib/systemd/systemd --user --log-target=journal 2> "$words/manager"
) &
wait $!
