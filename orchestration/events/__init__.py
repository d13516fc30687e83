"""Ask and wait by plan id and request id, in place of a dictionary that is polled.

Each id is the key of a request on record. Setters and reads are synchronous; what setters submit is written
in order by this process's writer, and the record decides what a wait returns.
"""

from orchestration.events.config import OrchestrationConfig, orchestration_config

__all__ = ["OrchestrationConfig", "orchestration_config"]
