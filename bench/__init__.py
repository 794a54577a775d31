"""Measure the portal; nothing here is part of it."""
