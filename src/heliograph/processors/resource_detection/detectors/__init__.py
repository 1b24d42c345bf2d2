"""Where resource attributes come from, one module each. A detector is a function that blocks: it runs in a thread.

To add one: a module here with a configuration class and `detect(config) -> Detected`, a key in ../config.py.
"""
