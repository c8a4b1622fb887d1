"""One paper per file: pure functions of weight, statistics and spec."""
