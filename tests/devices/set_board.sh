#!/bin/bash
# Writes what the userland ROOT says of its board: model, CPU, memory, temperature, clock. All static files.
# Usage: set_board.sh ROOT pi4|pi5     cpuinfo must fit the core that qemu emulates (QEMU_CPU=cortex-a72, -a76).
set -euo pipefail
root=$1 board=$2

case $board in
  pi4) model='Raspberry Pi 4 Model B Rev 1.4' part='0xd08 0x0 3' features='fp asimd evtstrm crc32 cpuid' clock=1800000 ;;
  pi5) model='Raspberry Pi 5 Model B Rev 1.0' part='0xd0b 0x4 1' clock=2400000
       features='fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp' ;;
esac
set -- $part
mkdir -p "$root"/{proc/device-tree,sys/class/thermal/thermal_zone0}
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
