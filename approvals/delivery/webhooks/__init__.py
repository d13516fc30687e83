"""Webhooks: outcomes posted to a `callback_url`, signed, and to allowed addresses only."""
