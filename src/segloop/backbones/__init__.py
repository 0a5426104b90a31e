"""The frozen networks, opened where the methods need them."""
