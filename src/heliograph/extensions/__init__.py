"""What serves the whole process: authentication, storage, health. One folder a type, its name upstream's."""
