"""What is fast and has no formula of a cell in it."""
