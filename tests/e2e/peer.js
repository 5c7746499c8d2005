// A peer connection that a test drives, one per page. WHIP and WHEP in their shortest form.
globalThis.peer = {
  pc: new RTCPeerConnection({ bundlePolicy: "max-bundle" }),
  messages: [],
  resource: null,

  async publish({ url, mimeType, encodings, isTcpOnly }) {
    const video = { width: 960, height: 540, frameRate: 15 };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true, video });
    for (const track of stream.getTracks()) {
      const sendEncodings = track.kind === "video" ? encodings : [{}];
      const transceiver = this.pc.addTransceiver(track, { direction: "sendonly", streams: [stream], sendEncodings });
      if (track.kind !== "video") continue;
      const { codecs } = RTCRtpSender.getCapabilities("video");
      transceiver.setCodecPreferences(codecs.filter((codec) => [mimeType, "video/rtx"].includes(codec.mimeType)));
      // A busy machine shall make it send fewer pictures, not smaller ones.
      const parameters = transceiver.sender.getParameters();
      await transceiver.sender.setParameters({ ...parameters, degradationPreference: "maintain-resolution" });
    }
    return this.begin(url, isTcpOnly);
  },

  async play({ url, kinds, isTcpOnly }) {
    this.pc.ontrack = ({ track }) => {
      // Without an element sound is not played, and then not counted.
      const element = document.body.appendChild(document.createElement(track.kind));
      element.srcObject = new MediaStream([track]);
      element.muted = track.kind === "video";
      element.autoplay = true;
    };
    for (const kind of kinds) {
      const transceiver = this.pc.addTransceiver(kind, { direction: "recvonly" });
      const extensions = transceiver.getHeaderExtensionsToNegotiate();
      const descriptor = extensions.find(({ uri }) => uri.includes("dependency-descriptor"));
      if (descriptor) descriptor.direction = "sendrecv";
      transceiver.setHeaderExtensionsToNegotiate(extensions);
    }
    return this.begin(url, isTcpOnly);
  },

  async begin(url, isTcpOnly) {
    // Chromium starts at 300 kbit/s and feels its way up: within a second, or on a busy machine within twenty.
    const quickly = (sdp) => sdp.replace(/(m=video \S+ \S+ (\d+)[^]*?)(?=m=|$)/, "$1a=fmtp:$2 x-google-start-bitrate=3000\r\n");
    this.channel = this.pc.createDataChannel("chat");
    this.channel.onmessage = ({ data }) => this.messages.push(data);
    await this.pc.setLocalDescription();
    const headers = { "Content-Type": "application/sdp" };
    const response = await fetch(url, { method: "POST", headers, body: this.pc.localDescription.sdp });
    let sdp = await response.text();
    if (response.status !== 201) throw new Error(`${response.status} ${sdp}`);
    this.resource = response.headers.get("Location");
    sdp = quickly(sdp);
    if (isTcpOnly) sdp = sdp.replace(/^a=candidate:\S+ \d+ udp .*\r\n/gim, "");
    await this.pc.setRemoteDescription({ type: "answer", sdp });
    return this.resource;
  },

  async stats() {
    return [...(await this.pc.getStats()).values()];
  },

  async choose(wish) {
    const response = await fetch(`${this.resource}/layer`, { method: "POST", body: JSON.stringify(wish) });
    return response.status;
  },

  async leave() {
    const response = await fetch(this.resource, { method: "DELETE" });
    this.pc.close();
    return response.status;
  },
};
