#!/bin/bash
# Starts Debian's real adbd in the userland ROOT, alone in a network namespace of its own; stays in the foreground.
# Usage: make_adbd.sh ROOT CPU      Needs root. adbd listens on every address, so it gets a network with only loopback.
set -euo pipefail
root=$1
export QEMU_CPU=$2
mountpoint -q "$root/dev/pts" || mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=0666
ln -sfn pts/ptmx "$root/dev/ptmx"
ip link set lo up
exec chroot "$root" /usr/lib/android-sdk/platform-tools/adbd
