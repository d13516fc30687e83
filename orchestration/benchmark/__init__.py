"""What Sayso costs, measured on the machine at hand: `manage.py benchmark`. It never touches the
installation's own rows; see installation.py."""
