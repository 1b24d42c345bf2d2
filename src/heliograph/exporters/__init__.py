"""Where telemetry goes out. One folder a type, its name upstream's."""
