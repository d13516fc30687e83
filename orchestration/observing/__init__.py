"""Endpoints for monitoring: liveness, readiness and metrics."""
