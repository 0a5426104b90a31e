"""What a run does: settings, methods, and how options become a plan."""
