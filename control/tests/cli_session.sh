#!/bin/bash
# Runs a list of `gluster` commands against a fresh management daemon and prints what each one printed.
#
#   cli_session.sh DIRECTORY-OF-THE-PROGRAMS < LIST
#
# Each line of the list is `ANSWER ARGUMENTS...`; the answer is given on standard input, `-` is an empty input.
# To be run as root in namespaces of its own: unshare --mount --net --pid --fork --kill-child --mount-proc.
# Output: a line `$ ANSWER ARGUMENTS`, the lines of standard output after `> `, of standard error after `! ` (each
# with `$` where its line break was), and `= EXIT-CODE`.
set -u
programs=$1
mount --make-rprivate /
ip link set lo up
ip addr add 192.0.2.1/24 dev lo
for directory in /var/lib/glusterd /var/log/glusterfs /run /srv; do
    mkdir -p $directory
    mount -t tmpfs none $directory
done
mkdir -p /run/gluster /var/log/glusterfs/bricks /srv/b
cp /etc/hosts /srv/hosts
echo 192.0.2.1 w1 >> /srv/hosts
mount --bind /srv/hosts /etc/hosts
"$programs/glusterd" -N > /srv/glusterd.out 2>&1 &
for _ in $(seq 100); do
    [ -S /var/run/glusterd.socket ] && break
    sleep 0.1
done
sleep 0.5
while read -r answer arguments; do
    if [ "$arguments" = pause ]; then
        sleep "$answer"
        continue
    fi
    echo "\$ $answer $arguments"
    # The arguments contain no quotes: splitting at blanks is meant.
    if [ "$answer" = - ]; then
        timeout 60 "$programs/gluster" $arguments > /srv/out 2> /srv/err < /dev/null
    else
        echo "$answer" | timeout 60 "$programs/gluster" $arguments > /srv/out 2> /srv/err
    fi
    code=$?
    cat -E /srv/out | awk '{ print "> " $0 }'
    cat -E /srv/err | awk '{ print "! " $0 }'
    echo "= $code"
done
