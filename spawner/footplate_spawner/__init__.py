"""Dev machines."""
