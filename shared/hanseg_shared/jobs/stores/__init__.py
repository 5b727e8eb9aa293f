"""Where payloads lie: a folder, or a store of objects with a cache before it."""
