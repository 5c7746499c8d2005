"""A worker of LiveKit's `livekit-agents`, unmodified, whose models are replaced by rules, so that it needs no network.

It hears tones and answers with one: energy is speech, what was said is the pitch, the reply is a sentence about it, and
the voice is another tone. Runs under a Python of its own (see `make e2e`), one JSON object a line on its output.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import signal
import sys
import time
from typing import Any

import numpy
from livekit import rtc
from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    Agent,
    AgentServer,
    AgentSession,
    JobContext,
    JobExecutorType,
    JobRequest,
    LanguageCode,
    llm,
    stt,
    tts,
    utils,
    vad,
)
from livekit.agents.worker import ServerType

RATE = 24_000
VOICE_HZ = 880
LOUD = 500
"""Root mean square of samples from which something is said; silence over Opus has a few."""
BEGIN_S, END_S = 0.1, 0.25


def tell(event: str, **facts: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, "at": time.time(), **facts}) + "\n")
    sys.stdout.flush()


def samples_of(frame: rtc.AudioFrame) -> numpy.ndarray:
    return numpy.frombuffer(frame.data, numpy.int16).astype(numpy.float64)


class Energy(vad.VAD):
    """Whatever is loud is speech."""

    def __init__(self) -> None:
        super().__init__(capabilities=vad.VADCapabilities(update_interval=0.1))

    def stream(self) -> vad.VADStream:
        return EnergyStream(self)


class EnergyStream(vad.VADStream):
    async def _main_task(self) -> None:
        frames: list[rtc.AudioFrame] = []
        loud = quiet = 0.0
        speaking, index = False, 0

        def event(kind: vad.VADEventType, frames: list[rtc.AudioFrame]) -> vad.VADEvent:
            return vad.VADEvent(
                type=kind,
                samples_index=index,
                timestamp=time.time(),
                speech_duration=loud,
                silence_duration=quiet,
                frames=frames,
                speaking=speaking,
                probability=float(speaking),
            )

        async for frame in self._input_ch:
            if not isinstance(frame, rtc.AudioFrame):
                frames, loud, quiet, speaking = [], 0.0, 0.0, False
                continue
            index += frame.samples_per_channel
            is_loud = math.sqrt(float(numpy.mean(samples_of(frame) ** 2))) > LOUD
            loud = loud + frame.duration if is_loud else loud
            quiet = 0.0 if is_loud else quiet + frame.duration
            frames = [*frames, frame] if speaking or is_loud else frames[-10:]
            if not speaking and loud >= BEGIN_S:
                speaking = True
                self._event_ch.send_nowait(event(vad.VADEventType.START_OF_SPEECH, list(frames)))
            self._event_ch.send_nowait(event(vad.VADEventType.INFERENCE_DONE, [frame]))
            if quiet >= END_S:
                if speaking:
                    speaking = False
                    self._event_ch.send_nowait(event(vad.VADEventType.END_OF_SPEECH, list(frames)))
                loud, frames = 0.0, []


class Pitch(stt.STT):
    """Writes down how high a tone was."""

    def __init__(self) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))

    async def _recognize_impl(
        self, buffer: utils.AudioBuffer, *, language: Any = None, conn_options: Any = None
    ) -> stt.SpeechEvent:
        frame = rtc.combine_audio_frames(buffer)
        wave = samples_of(frame)
        spectrum = numpy.abs(numpy.fft.rfft(wave))
        hz = int(numpy.argmax(spectrum[1:]) + 1) * frame.sample_rate / len(wave)
        data = stt.SpeechData(language=LanguageCode("en"), text=f"tone of {round(hz, -1):.0f}", confidence=1.0)
        return stt.SpeechEvent(type=stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[data])


class Rules(llm.LLM):
    """Says back what it heard."""

    def chat(
        self,
        *,
        chat_ctx: llm.ChatContext,
        tools: list[llm.Tool] | None = None,
        conn_options: Any = DEFAULT_API_CONNECT_OPTIONS,
        **_: Any,
    ) -> llm.LLMStream:
        return RulesStream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class RulesStream(llm.LLMStream):
    async def _run(self) -> None:
        said = [item.text_content for item in self._chat_ctx.items if getattr(item, "role", "") == "user"]
        reply = f"I heard a {said[-1]}" if said else "I heard nothing"
        for word in reply.split():
            delta = llm.ChoiceDelta(role="assistant", content=f"{word} ")
            self._event_ch.send_nowait(llm.ChatChunk(id="reply", delta=delta))


class Tone(tts.TTS):
    """Reads every text as one tone."""

    def __init__(self) -> None:
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=RATE, num_channels=1)

    def synthesize(self, text: str, *, conn_options: Any = DEFAULT_API_CONNECT_OPTIONS) -> tts.ChunkedStream:
        return ToneStream(tts=self, input_text=text, conn_options=conn_options)


class ToneStream(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(request_id="tone", sample_rate=RATE, num_channels=1, mime_type="audio/pcm")
        wave = 12_000 * numpy.sin(2 * numpy.pi * VOICE_HZ * numpy.arange(RATE) / RATE)
        output_emitter.push(wave.astype(numpy.int16).tobytes())
        output_emitter.flush()


async def talk(ctx: JobContext) -> None:
    """Answer who is there, once each time that they say something."""
    session: AgentSession[None] = AgentSession(
        vad=Energy(), stt=Pitch(), llm=Rules(), tts=Tone(), turn_handling={"turn_detection": "vad"}
    )
    await session.start(Agent(instructions="say what you hear"), room=ctx.room)
    tell("ready", room=ctx.room.name)


async def stay(ctx: JobContext) -> None:
    """Be there."""
    await ctx.connect()
    tell("in", room=ctx.room.name, job=ctx.job.id, identity=ctx.room.local_participant.identity)


async def crash(ctx: JobContext) -> None:
    """Come, and crash. What an entrypoint raises is no failure to livekit-agents."""
    await ctx.connect()
    os._exit(1)


WORKS = {"talk": talk, "stay": stay, "crash": crash}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("--name", default="")
    parser.add_argument("--type", choices=["room", "publisher"], default="room")
    parser.add_argument("--executor", choices=["thread", "process"], default="thread")
    parser.add_argument("--idle", type=int, default=4)
    parser.add_argument("--load", type=float, default=0.0, help="what it says of itself, whatever is so")
    arguments = parser.parse_args()
    server = AgentServer(
        job_executor_type=JobExecutorType(arguments.executor),
        num_idle_processes=arguments.idle,
        load_fnc=lambda: arguments.load,
        load_threshold=1.0,
        port=0,
        host="127.0.0.1",
        drain_timeout=60,
        shutdown_process_timeout=2,
    )

    async def take(request: JobRequest) -> None:
        tell("asked", job=request.id)
        await request.accept()

    kind = ServerType.ROOM if arguments.type == "room" else ServerType.PUBLISHER
    server.rtc_session(WORKS[arguments.work], agent_name=arguments.name, type=kind, on_request=take)
    server.on("worker_registered", lambda id, _: tell("registered", worker=id))
    asyncio.run(run(server))


async def run(server: AgentServer) -> None:
    """Run until SIGTERM; then finish what there is, as livekit-agents' own command line does."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    running = asyncio.create_task(server.run())
    await asyncio.wait([running, asyncio.create_task(ended.wait())], return_when=asyncio.FIRST_COMPLETED)
    if ended.is_set():
        tell("draining")
        await server.drain()
        await server.aclose()
    await running


if __name__ == "__main__":
    main()
