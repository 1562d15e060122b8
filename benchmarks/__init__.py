"""Side-by-side runs against other tools and kernels; results land under ``benchmarks/results/``."""
