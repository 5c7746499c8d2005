"""Tests of rtpcore.sdp."""
