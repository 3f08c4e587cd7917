"""The browser window on a landmark."""
