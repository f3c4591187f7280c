"""The device's side of a step: packing, launching or replaying, drawing tokens, timing, and copying KV blocks."""
