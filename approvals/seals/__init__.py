"""Seals: signatures over the trail that others keep, so that not even its owner can rewrite it unnoticed."""
