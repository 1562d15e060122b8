#!/bin/sh
# show-mount.sh IMAGE: mounts an image with this machine's kernel and shows a glimpse; says why where it cannot.
set -eu
image=$1

if [ "$(id -u)" != 0 ]; then
    echo "Not root, so not mounted. As root: mount -t erofs -o loop,ro $image /mnt"
    exit 0
fi
grep -qw erofs /proc/filesystems || modprobe -q erofs || true
if ! grep -qw erofs /proc/filesystems || [ ! -e /dev/loop-control ]; then
    echo "This kernel ($(uname -r)) has no EROFS or no loop devices, so the image is not mounted."
    exit 0
fi
point=$(mktemp -d)
trap 'umount "$point" 2>/dev/null || true; rmdir "$point"' EXIT
trap 'exit 130' INT TERM
mount -t erofs -o loop,ro "$image" "$point"
echo "Mounted by Linux $(uname -r):"
df -h "$point" | tail -n 1
ls -l "$point" | head -n 6
if command -v getfattr >/dev/null; then
    file=$(find "$point" -type f -size +0 | sort | head -n 1)
    getfattr --absolute-names -e hex -n trusted.erofs.fingerprint "$file"
fi
