#!/bin/sh
# Ends GlusterFS's server processes of this machine: glusterd, bricks and self-heal daemons; with --bricks everything but
# glusterd. Mounts stay. Processes are known by their pid files, and only if the process was started with that pid file:
# the number may belong to somebody else by now.

set -u

rundir=${GLUSTER_RUN_DIR:-/run/gluster}
daemon_pid=${GLUSTERD_PID_FILE:-/run/glusterd.pid}
# Seconds between SIGTERM and SIGKILL.
patience=10

case ${1-} in
    "") with_daemon=yes ;;
    --bricks) with_daemon=no ;;
    *)
        echo "usage: $0 [--bricks]" >&2
        exit 64
        ;;
esac

# Prints the pid in a pid file if that process runs and has the file (under /run or /var/run) among its arguments.
pid_of() {
    pid=
    read -r pid 2>/dev/null <"$1" || [ -n "$pid" ] || return 0
    case $pid in
        "" | *[!0-9]*) return 0 ;;
    esac
    [ -r "/proc/$pid/cmdline" ] || return 0
    name=${1#/run/}
    # A daemon that was started without arguments uses the standard pid file.
    if tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF -e "/run/$name" -e "/var/run/$name" -e "$1"; then
        echo "$pid"
    elif [ "$1" = "$daemon_pid" ] && grep -qx glusterd "/proc/$pid/comm" 2>/dev/null; then
        echo "$pid"
    fi
}

running() {
    for file in "$@"; do
        [ -f "$file" ] && pid_of "$file"
    done
}

# Ends the processes of these pid files: SIGTERM, patience, SIGKILL.
end() {
    pids=$(running "$@")
    [ -n "$pids" ] || return 0
    # A process may have ended by itself since.
    # shellcheck disable=SC2086
    kill -TERM $pids 2>/dev/null || true
    tenths=0
    while [ -n "$(running "$@")" ]; do
        if [ "$tenths" -ge $((patience * 10)) ]; then
            pids=$(running "$@")
            echo "$0: not ended by SIGTERM within $patience s, killed: $pids" >&2
            # shellcheck disable=SC2086
            kill -KILL $pids 2>/dev/null || true
            return 0
        fi
        sleep 0.1
        tenths=$((tenths + 1))
    done
}

# First the one that would start the others again.
[ "$with_daemon" = no ] || end "$daemon_pid"
end "$rundir"/vols/*/*.pid "$rundir"/shd/*/*.pid
