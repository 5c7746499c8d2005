"""Whole ways: real browsers and a real server, packets over the loopback interface."""
