"""A site of nothing but Sayso, in which the benchmark measures where there is no checkout."""
