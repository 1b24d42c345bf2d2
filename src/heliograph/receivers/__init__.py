"""Where telemetry comes in. One folder a type, its name upstream's."""
