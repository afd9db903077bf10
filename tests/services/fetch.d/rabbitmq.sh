#!/usr/bin/env bash
# RabbitMQ from Debian's package, without the server that the package would start on its own port.
set -uo pipefail

[[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]] && exit 0
command -v apt-get >/dev/null || { echo "install rabbitmq-server: no apt-get here"; exit 1; }
root=()
if ((EUID != 0)); then
  sudo -n true 2>/dev/null || { echo "install rabbitmq-server: neither root nor sudo without a password"; exit 1; }
  root=(sudo -n)
fi

# Debian asks this program before a package may start its service; 101 forbids it.  One that is there
# already (container images have one) is put back.
policy=/usr/sbin/policy-rc.d
"${root[@]}" test ! -e "$policy" || "${root[@]}" mv "$policy" "$policy.before-tocsin"
restore() {
  "${root[@]}" rm -f "$policy"
  "${root[@]}" test ! -e "$policy.before-tocsin" || "${root[@]}" mv "$policy.before-tocsin" "$policy"
}
trap restore EXIT
printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null && "${root[@]}" chmod 755 "$policy"

install=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends rabbitmq-server)
"${install[@]}" || { "${root[@]}" apt-get update -q && "${install[@]}"; } ||
  { echo "install rabbitmq-server: apt-get failed"; exit 1; }

# It would start with the next boot.
! command -v systemctl >/dev/null || "${root[@]}" systemctl disable --quiet rabbitmq-server epmd.socket || true
[[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ]] || { echo "rabbitmq-server: installed, but not in /usr/lib/rabbitmq"; exit 1; }
