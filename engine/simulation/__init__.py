"""Devices that exist only as a formula: model shapes, device profiles and the time a step takes."""
