"""The built-in orchestrations: plan, checklist and disk_cleanup."""
