#!/bin/bash
# Makes an arm64 Debian userland that stands for a Raspberry Pi under qemu-user: the real aarch64 wheels run in it.
# Usage: make_pi.sh DIR pi4|pi5        Needs mmdebstrap, qemu-user-static and root (device files, binfmt_misc).
# Temperature, clock and model are static files: what is measured in here is never a board's figure.
set -euo pipefail
root=$1 board=$2
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v -m 1 security)
mmdebstrap --quiet --variant=extract --architectures=arm64 \
  --include=python3-minimal,python3-venv,libpython3.11-stdlib,libstdc++6,dash,bash,coreutils,grep,sed,procps \
  bookworm "$root" "deb $mirror bookworm main"

"$(dirname "$0")/set_board.sh" "$root" "$board"

echo 'root:x:0:0:root:/root:/bin/bash' > "$root/etc/passwd"
printf 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n' > "$root/etc/os-release"
mkdir -p "$root"/{dev,root,tmp}
for device in null zero urandom random tty; do
  [ -e "$root/dev/$device" ] || cp -a "/dev/$device" "$root/dev/"
done
chmod 1777 "$root/tmp"
cp /etc/resolv.conf "$root/etc/" 2> /dev/null || true

"$(dirname "$0")/binfmt.sh"
