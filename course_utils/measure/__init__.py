"""Quality, memory, speed, and records that say where a number came from."""
