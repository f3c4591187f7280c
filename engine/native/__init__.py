"""Kernels in C++ for processors without an accelerator: compiled where they run, when they are first used."""
