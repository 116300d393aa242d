"""What people and programs see: words for terminals and pipes, colours, progress, JSON."""
