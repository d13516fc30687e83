"""What a process needs besides the database: hints to others, metrics, files, forks."""
