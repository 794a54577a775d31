"""The grants, one a file."""
