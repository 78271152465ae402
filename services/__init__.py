"""The services of the scheme; they never import each other and meet only in `shared.events`."""
