"""Devices simulated by a formula: model shapes, device profiles and the time that a step takes."""
