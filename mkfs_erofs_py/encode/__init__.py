"""Contents become stored forms: which encoding each gets, what that makes of it, and the workers who do it.

A `policy` gives each file an `encoding` from its facts alone. The `service` takes contents, in the order in which
they come, and hands them to worker processes, whose side is `worker`: they read, hash and pack in memory that both
share, `clusters` into block-aligned clusters, `packed` into pieces packed to the byte. What comes back, in the same
order, is `encoded`: a digest, spans and bytes, and no address. Who gives addresses is the `Receiver`: the area of an
image (`mkfs_erofs_py.write`), or the `shelf`, where contents wait that came before it was their turn.
"""
