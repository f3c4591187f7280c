"""What runs on the device: packing a step, launching or replaying it, drawing tokens, timing it."""
