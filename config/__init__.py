"""The installation: settings, addresses, servers and monitoring."""
