"""Durable intents."""
