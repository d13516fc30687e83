"""The trail: seals over it, exports, verification, and what retention removes."""
