#!/bin/sh
# make-venv.sh PYTHON FOLDER: makes a virtual environment, or says what is missing for one.
# Debian and Ubuntu ship Python without ensurepip; as root the missing package is installed, otherwise named.
set -eu
python=$1 folder=$2

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    if ! command -v "$python" >/dev/null; then found="there is no $python"; else found="$("$python" --version)"; fi
    echo "Python 3.11 or newer is needed, but $found; choose another with make PYTHON=python3.12" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing $package, which $python needs to make virtual environments"
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$package"; } >/dev/null
    else
        echo "$python cannot make virtual environments here; install them first: sudo apt install $package" >&2
        exit 1
    fi
fi
echo "making the virtual environment $folder"
rm -rf "$folder"
"$python" -m venv "$folder"
