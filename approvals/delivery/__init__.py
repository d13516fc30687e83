"""Delivery of what the outboxes hold: outcomes to webhooks, emails to people."""
