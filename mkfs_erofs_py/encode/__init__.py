"""Contents become stored data: which encoding, what it gives, and the workers that make it."""
