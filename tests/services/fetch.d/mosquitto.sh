#!/usr/bin/env bash
# Mosquitto from Debian's package.  Where packages start their servers, this one is ended again and stays off.
set -euo pipefail
PATH="$PATH:/usr/sbin"
command -v mosquitto >/dev/null && command -v mosquitto_passwd >/dev/null && exit 0

as_root=()
if ((EUID)); then
  sudo -n true 2>/dev/null || { echo "needs root or sudo: apt-get install mosquitto"; exit 1; }
  as_root=(sudo -n)
fi
command -v apt-get >/dev/null || { echo "no apt-get here: install mosquitto 2.0 by hand"; exit 1; }

install() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends mosquitto
}
install || { "${as_root[@]}" apt-get update && install; } || { echo "apt-get install mosquitto failed"; exit 1; }
if [[ -d /run/systemd/system ]]; then
  "${as_root[@]}" systemctl disable --now mosquitto || true
else
  "${as_root[@]}" service mosquitto stop || true
fi
