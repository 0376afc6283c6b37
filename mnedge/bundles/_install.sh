#!/bin/sh
# Puts this bundle to /opt/@SLUG@, or to the folder that is given, with a virtual environment of its own; as root.
# It can be run again, for a new version as well; a service that is enabled or runs is started anew.
# The camera's service is started by: systemctl enable --now @SLUG@
set -eu
umask 022
place=${1:-/opt/@SLUG@}
mkdir -p "$place" || { echo "$0: run it with sudo, or name a folder of your own" >&2; exit 1; }
place=$(cd "$place" && pwd -P)
here=$(cd "$(dirname "$0")" && pwd -P)
command -v python3 >/dev/null || { echo "$0: no python3: apt install python3 python3-venv" >&2; exit 1; }

# The environment first: where it cannot be made, what is installed stays as it is.
works() {
  [ -x "$place/venv/bin/python" ] && "$place/venv/bin/python" - "$here/requirements.txt" <<'END'
import sys
from importlib.metadata import PackageNotFoundError, version
try:
    for line in open(sys.argv[1], encoding="utf-8"):
        name, _, due = line.strip().partition("==")
        if name and version(name) != due:
            sys.exit(1)
except PackageNotFoundError:
    sys.exit(1)
END
}
if ! works; then
  # picamera2 comes with the system alone.
  system=
  if python3 -c 'import picamera2' >/dev/null 2>&1; then system=--system-site-packages; fi
  if ! "$place/venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python3 -m venv --clear $system "$place/venv"
  fi
  "$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$here/requirements.txt"
fi

# The files of manifest.json and no others; those of an older version that this one lacks go.
python3 - "$here" "$place" <<'END'
import json, os, pathlib, shutil, sys
here, place = map(pathlib.Path, sys.argv[1:])
def listed(folder):
    rows = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    names = {row["path"] for row in rows}
    if any(name.startswith("/") or ".." in name.split("/") for name in names):
        sys.exit(f"{folder}/manifest.json names a file outside of it; unpack the bundle again")
    return names
due = listed(here)
if missing := sorted(name for name in due if not (here / name).is_file()):
    sys.exit(f"{here} lacks {', '.join(missing)}; unpack the bundle again")
if here != place:
    old = listed(place) - due if (place / "manifest.json").is_file() else set()
    signed = {"@SIGNATURE@"} if (here / "@SIGNATURE@").is_file() else set()
    # The manifest last: until then the old one says what is there.
    for name in [*sorted(due | signed), "manifest.json"]:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        shutil.copyfile(here / name, fresh)
        os.chmod(fresh, 0o755 if os.access(here / name, os.X_OK) else 0o644)
        os.replace(fresh, path)
    for name in old | ({"@SIGNATURE@"} - signed):
        (place / name).unlink(missing_ok=True)
END

if [ "$place" = /opt/@SLUG@ ] && [ -d /etc/systemd/system ]; then
  cp "$place/@SLUG@.service" /etc/systemd/system/
  # Without systemd, as in a container, there is nothing to start.
  if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    if systemctl is-enabled --quiet @SLUG@; then
      systemctl restart @SLUG@
    else
      systemctl try-restart @SLUG@
    fi
  fi
fi
echo "@SLUG@ is in $place"
