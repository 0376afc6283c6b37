#!/bin/bash
# Makes an arm64 userland with Debian's real adbd and Python, which stands for a phone with Python (Termux).
# Usage: make_phone.sh DIR PYTHON      PYTHON's pip fetches the wheels. Needs mmdebstrap, qemu-user-static and root.
# Not Android: no bionic, toybox, SELinux, GPU; getprop and dumpsys are static answers.
set -euo pipefail
root=$1 python=$2
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v -m 1 security)
list=$(mktemp)
trap 'rm -f "$list"' EXIT
printf 'deb %s bookworm main\ndeb %s bookworm-backports main\n' "$mirror" "$mirror" > "$list"
mmdebstrap --quiet --variant=extract --architectures=arm64 --aptopt='APT::Default-Release "bookworm-backports"' \
  --include=adbd,dash,bash,coreutils,grep,sed,procps,util-linux,python3-minimal,libpython3.11-stdlib,libstdc++6 \
  '' "$root" "$list"

mkdir -p "$root"/{proc,dev/pts,data/local/tmp,root,run,tmp,sys/devices/system/cpu}
chmod 1777 "$root/data/local/tmp" "$root/tmp"
for device in null zero urandom random tty; do
  [ -e "$root/dev/$device" ] || cp -a "/dev/$device" "$root/dev/"
done
echo 'root:x:0:0:root:/:/bin/sh' > "$root/etc/passwd"
for core in 0 1 2 3; do
  printf 'processor\t: %s\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n' "$core"
  printf 'CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n'
  mkdir -p "$root/sys/devices/system/cpu/cpu$core/cpufreq"
  [ "$core" -lt 1 ] && clock=1800000 || clock=2840000
  echo $clock > "$root/sys/devices/system/cpu/cpu$core/cpufreq/cpuinfo_max_freq"
done > "$root/proc/cpuinfo"
echo 0-3 | tee "$root/sys/devices/system/cpu/possible" > "$root/sys/devices/system/cpu/present"

cat > "$root/usr/bin/getprop" <<'END'
#!/bin/sh
case $1 in
  ro.product.model) echo 'Stand-in' ;;
  ro.soc.model) echo 'qemu-user' ;;
  ro.build.version.release) echo 14 ;;
  ro.build.version.sdk) echo 34 ;;
  ro.product.cpu.abi) echo arm64-v8a ;;
esac
END
cat > "$root/usr/bin/dumpsys" <<'END'
#!/bin/sh
case $1 in
  battery) printf 'Current Battery Service state:\n  AC powered: false\n  USB powered: true\n  level: 87\n  temperature: 281\n' ;;
  thermalservice) printf 'IsStatusOverride: false\nThermal Status: 0\n' ;;
esac
END
chmod +x "$root"/usr/bin/{getprop,dumpsys}

wheels=$(mktemp -d)
trap 'rm -rf "$list" "$wheels"' EXIT
"$python" -m pip download --quiet --dest "$wheels" --only-binary=:all: --python-version 3.11 --implementation cp \
  --abi cp311 --abi abi3 --abi none --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
  --platform manylinux2014_aarch64 ai-edge-litert==2.3.0
for wheel in "$wheels"/*.whl; do
  "$python" -m zipfile -e "$wheel" "$root/usr/lib/python3/dist-packages"
done
"$(dirname "$0")/binfmt.sh"
