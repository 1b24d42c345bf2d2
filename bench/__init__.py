"""CPU and memory of a whole Collector process, beside the upstream Collector on the same configuration and input.

    python -m bench [--quick] [--case NAME] [--variant compiled,plain,upstream]

Each run is four processes over loopback: the Collector under test, a load generator with payloads made beforehand, a
sink that counts, and this one, which reads the Collector's CPU clock and memory from the kernel. `cases/` says what is
run, `variant` against whom, `table` how it is shown. `micro/` holds measurements of single parts.
"""
