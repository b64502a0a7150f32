"""Deployments of the frontend at Vercel: what they are, the API, one module's states."""
