"""How Django's CHANNEL_LAYERS should be told of the layer that carries hints."""

from __future__ import annotations

from typing import Any


def channel_layers(redis_url: str, prefix: str) -> dict[str, Any]:
    """Return CHANNEL_LAYERS with a layer on this Redis; in memory where there is none.

    Installations that share a Redis have a `prefix` each.
    """
    if not redis_url:
        return {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    # Explicit, finite and above redis-py's own defaults; reads poll far more often than this.
    host = {"address": redis_url, "socket_timeout": 15, "socket_connect_timeout": 5}
    return {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [host], "prefix": prefix},
        }
    }
