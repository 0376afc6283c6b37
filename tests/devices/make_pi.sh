#!/bin/bash
# Makes an arm64 Debian userland that stands for a Raspberry Pi under qemu-user: the real aarch64 wheels run in it.
# Usage: make_pi.sh DIR pi4|pi5        Needs mmdebstrap, qemu-user-static and root (device files, binfmt_misc).
# Temperature, clock and model are static files: what is measured in here is never a board's figure.
set -euo pipefail
root=$1 board=$2
mmdebstrap --quiet --variant=extract --architectures=arm64 \
  --include=python3-minimal,python3-venv,python3.11-venv,libpython3.11-stdlib,libstdc++6,dash,bash,coreutils,grep,sed,procps,ca-certificates \
  bookworm "$root"

case $board in
  pi4) model='Raspberry Pi 4 Model B Rev 1.4' part='0xd08 0x0 3' features='fp asimd evtstrm crc32 cpuid' clock=1800000 ;;
  pi5) model='Raspberry Pi 5 Model B Rev 1.0' part='0xd0b 0x4 1' clock=2400000
       features='fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp' ;;
esac
set -- $part
mkdir -p "$root"/{root,proc/device-tree,sys/class/thermal/thermal_zone0,tmp}
mkdir -p "$root"/sys/devices/system/cpu/cpu0/cpufreq
for core in 0 1 2 3; do
  printf 'processor\t: %s\nBogoMIPS\t: 108.00\nFeatures\t: %s\nCPU implementer\t: 0x41\n' "$core" "$features"
  printf 'CPU architecture: 8\nCPU variant\t: %s\nCPU part\t: %s\nCPU revision\t: %s\n\n' "$2" "$1" "$3"
done > "$root/proc/cpuinfo"
printf 'MemTotal:        3884092 kB\nMemAvailable:    3400000 kB\n' > "$root/proc/meminfo"
printf '%s\0' "$model" > "$root/proc/device-tree/model"
# Without these two XNNPACK's cpuinfo gives up, and LiteRT computes without the delegate.
echo 0-3 | tee "$root/sys/devices/system/cpu/possible" > "$root/sys/devices/system/cpu/present"
echo 48312 > "$root/sys/class/thermal/thermal_zone0/temp"
echo performance > "$root/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
echo $clock | tee "$root"/sys/devices/system/cpu/cpu0/cpufreq/{scaling_cur_freq,cpuinfo_max_freq} > /dev/null

echo 'root:x:0:0:root:/root:/bin/bash' > "$root/etc/passwd"
printf 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n' > "$root/etc/os-release"
mkdir -p "$root/dev"
for device in null zero urandom random tty; do
  [ -e "$root/dev/$device" ] || cp -a "/dev/$device" "$root/dev/"
done
chmod 1777 "$root/tmp"
cp /etc/resolv.conf "$root/etc/" 2> /dev/null || true

"$(dirname "$0")/binfmt.sh"
