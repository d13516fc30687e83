"""Requests for approval or clarification: asked, waited for, decided, and on record.

Programs ask and wait by `gate`, people and programs decide by `deciding`; docs/architecture.md has the map.
"""
