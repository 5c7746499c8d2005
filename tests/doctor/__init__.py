"""Tests of rtpcore.livekit_config."""
