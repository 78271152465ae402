"""What the production form needs."""
