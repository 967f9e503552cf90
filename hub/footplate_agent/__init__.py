"""What runs in front of a user's process in every replica; standard library only."""
