"""What is added to the grants, one standard a file."""
