"""The process around the pipelines: start, supervision, stop, and all roles on one machine."""
