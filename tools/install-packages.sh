#!/bin/sh
# Installs what dltrain is built from and tested with, on Debian and Ubuntu. Arguments: more packages.
set -eu
packages="cmake ninja-build pkg-config gcc libc6-dev libyaml-dev libhdf5-dev libopenblas-serial-dev libzip-dev zlib1g-dev libjpeg-dev libpng-dev libcmocka-dev $*"
missing=
for p in $packages; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
if [ -z "$missing" ]; then
    exit 0
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    as_root=sudo
    command -v sudo >/dev/null || { echo "install-packages.sh: run as root, or install:$missing" >&2; exit 1; }
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
