"""A Debian kernel with EROFS page cache sharing, booted under QEMU, that does what tests ask of it.

``fetch`` brings the kernel into the cache folder, ``initramfs`` packs what starts it, ``boot`` runs it and
sends it calls, ``agent`` answers them inside, and ``probes`` is what can be asked, there or on this machine.
"""
