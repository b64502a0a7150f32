"""What the application's log says."""
