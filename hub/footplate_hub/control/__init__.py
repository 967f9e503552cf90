"""The loops that move the world."""
