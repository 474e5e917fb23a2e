"""What every kernel stands on: compiling, threads, checked input, BLAS at one thread, memory that is used again."""
