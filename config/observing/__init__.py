"""What machines ask of this process: whether it lives, whether it can do its work, how much it does."""
