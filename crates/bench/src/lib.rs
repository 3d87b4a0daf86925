//! Benchmarks: ratios against a stated limit, in one run.
