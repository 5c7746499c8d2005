"""Tests of rtpcore.server."""
