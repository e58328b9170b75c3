"""The tests: a folder mirrors each room of the gateway; `cases/` holds tables, `e2e/` real servers."""
