"""The management commands, and what they share: accounts, terminal input and output, sealing."""
