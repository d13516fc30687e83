"""What an installation allows: what built-in steps may reach, and who decides what runs ask."""
