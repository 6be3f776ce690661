"""What is in an image, and why."""
