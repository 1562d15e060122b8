#!/bin/busybox sh
# The guest's first process: loads modules, makes the host's own root file system (over 9p, with a writable
# layer in memory on top) the root here, so that the host's Python and tests run, and starts the agent.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do
    insmod "/modules/$module.ko" || echo "cannot load $module"
done
eval "$(tr ' ' '\n' </proc/cmdline | grep '^agent_')"

echo "modules are loaded"
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=262144,cache=loose host /host
mount -t tmpfs upper /upper
mkdir /upper/data /upper/work
mount -t overlay -o lowerdir=/host,upperdir=/upper/data,workdir=/upper/work root /root
mount -t proc proc /root/proc
mount -t sysfs sys /root/sys
mount -t devtmpfs dev /root/dev
mount -t tmpfs tmp /root/run
# Images are read past the cache, so that what is cached is what the file systems under test cache.
mkdir -p "/root$agent_share"
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=none share "/root$agent_share"
echo "file systems are mounted"
cd /root
chroot /root /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
    PYTHONPATH="$agent_code" PYTHONDONTWRITEBYTECODE=1 "$agent_python" -S -m tests.kernel.harness.agent <>dev/ttyS1
echo "the agent ended with status $?"
poweroff -f
