#!/bin/bash
# Starts a real sshd on loopback whose sessions live in the userland ROOT; prints nothing, leaves DIR/sshd.pid.
# Usage: make_sshd.sh DIR PORT ROOT CPU     Needs root; ROOT and all folders above it must be writable by root only.
set -euo pipefail
dir=$1 port=$2 root=$3 cpu=$4
mkdir -p "$dir" /run/sshd
chmod 700 "$dir"
for key in host_key id; do
  [ -f "$dir/$key" ] || ssh-keygen -q -t ed25519 -N '' -f "$dir/$key"
done
cp "$dir/id.pub" "$dir/authorized_keys"
cat > "$dir/sshd_config" <<END
Port $port
ListenAddress 127.0.0.1
HostKey $dir/host_key
PidFile $dir/sshd.pid
AuthorizedKeysFile $dir/authorized_keys
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv QEMU_CPU=$cpu
ChrootDirectory $root
END
cat > "$dir/ssh_config" <<END
Host pi
  HostName 127.0.0.1
  Port $port
  User root
  IdentityFile $dir/id
  IdentitiesOnly yes
  UserKnownHostsFile $dir/known_hosts
  StrictHostKeyChecking accept-new
END
/usr/sbin/sshd -f "$dir/sshd_config" -E "$dir/sshd.log"
