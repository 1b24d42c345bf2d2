"""Where one pipeline ends and others begin. One folder a type, its name upstream's."""
