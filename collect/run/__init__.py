"""A sweep: its cells, the workers that measure them, the engines that start workers."""
