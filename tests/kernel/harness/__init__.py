"""A Debian kernel with EROFS page cache sharing, booted under QEMU, that does what tests ask of it.

``fetch`` brings the kernel into the cache folder, ``initramfs`` packs what starts it, ``boot`` runs it.
``namespaces`` are a place apart on this machine's own kernel. ``remote`` sends calls to either, ``agent``
answers them there, and ``probes`` is what can be asked, there or right here.
"""
