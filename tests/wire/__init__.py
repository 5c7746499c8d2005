"""Tests of rtpcore.wire."""
