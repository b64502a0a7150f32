"""What the application says about its health, and what that means."""
