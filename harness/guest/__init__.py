"""Machines, and the bytes that go in and out of them; nothing here knows what a program is."""
