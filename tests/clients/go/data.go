package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
)

// What was heard, in order.
type message struct {
	Kind  string `json:"kind"`
	From  string `json:"from"`
	Topic string `json:"topic"`
	Text  string `json:"text"`
}

func (c *client) hear(m message) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.heard = append(c.heard, m)
}

func (c *client) takePacket(packet lksdk.DataPacket, params lksdk.DataReceiveParams) {
	switch packet := packet.(type) {
	case *lksdk.UserDataPacket:
		c.hear(message{"data", params.SenderIdentity, packet.Topic, string(packet.Payload)})
	case *livekit.ChatMessage:
		c.hear(message{"chat", params.SenderIdentity, "", packet.Message})
	case *livekit.SipDTMF:
		c.hear(message{"dtmf", params.SenderIdentity, "", packet.Digit})
	}
}

func (c *client) takeTranscription(segments []*lksdk.TranscriptionSegment, one lksdk.Participant, _ lksdk.TrackPublication) {
	for _, segment := range segments {
		c.hear(message{"transcription", one.Identity(), "", segment.Text})
	}
}

// What a client does for others: streams are read, three methods answered.
func (c *client) serve(room *lksdk.Room) error {
	echo := func(call lksdk.RpcInvocationData) (string, error) {
		return call.CallerIdentity + ": " + call.Payload, nil
	}
	refuse := func(lksdk.RpcInvocationData) (string, error) {
		data := "perhaps tomorrow"
		return "", lksdk.NewRpcError(101, "not today", &data)
	}
	sleep := func(lksdk.RpcInvocationData) (string, error) {
		time.Sleep(20 * time.Second)
		return "too late", nil
	}
	return errors.Join(
		room.RegisterTextStreamHandler("words", func(reader *lksdk.TextStreamReader, from string) {
			c.hear(message{"text", from, "words", reader.ReadAll()})
		}),
		room.RegisterByteStreamHandler("file", func(reader *lksdk.ByteStreamReader, from string) {
			c.hear(message{"bytes", from, "file", string(reader.ReadAll())})
		}),
		room.RegisterRpcMethod("echo", echo),
		room.RegisterRpcMethod("refuse", refuse),
		room.RegisterRpcMethod("sleep", sleep),
	)
}

func (c *client) doData(r request) (any, error) {
	me := c.room.LocalParticipant
	switch r.Do {
	case "say":
		return nil, me.PublishDataPacket(
			&lksdk.UserDataPacket{Payload: []byte(r.Text), Topic: r.Topic},
			lksdk.WithDataPublishReliable(r.Flag),
			lksdk.WithDataPublishDestination(r.Identities),
		)
	case "chat":
		return nil, me.PublishDataPacket(lksdk.ChatMessage(time.Time{}, r.Text), lksdk.WithDataPublishReliable(true))
	case "dial":
		code, err := strconv.Atoi(r.Text)
		if err != nil {
			return nil, err
		}
		tone := &livekit.SipDTMF{Code: uint32(code), Digit: r.Text}
		return nil, me.PublishDataPacket(tone, lksdk.WithDataPublishReliable(true))
	case "stream":
		me.SendText(r.Text, lksdk.StreamTextOptions{Topic: "words", DestinationIdentities: r.Identities})
		return nil, nil
	case "send":
		path := filepath.Join(os.TempDir(), fmt.Sprintf("livekit-client-%d", os.Getpid()))
		if err := os.WriteFile(path, []byte(r.Text), 0o600); err != nil {
			return nil, err
		}
		defer os.Remove(path)
		_, err := me.SendFile(path, lksdk.StreamBytesOptions{Topic: "file", DestinationIdentities: r.Identities})
		return nil, err
	case "call":
		timeout := time.Duration(r.Timeout) * time.Millisecond
		answer, err := me.PerformRpc(lksdk.PerformRpcParams{
			DestinationIdentity: r.Identity, Method: r.Method, Payload: r.Text, ResponseTimeout: &timeout,
		})
		var failure *lksdk.RpcError
		if errors.As(err, &failure) {
			return map[string]any{"code": failure.Code, "message": failure.Message, "data": failure.Data}, nil
		}
		return map[string]any{"answer": answer}, err
	}
	return nil, fmt.Errorf("cannot do %q", r.Do)
}

var scenarios = map[string]lksdk.SimulateScenario{
	"signal-reconnect": lksdk.SimulateSignalReconnect,
	"full-reconnect":   lksdk.SimulateLeaveRequestFullReconnect,
	"speaker":          lksdk.SimulateSpeakerUpdate,
	"server-leave":     lksdk.SimulateServerLeave,
	"node-failure":     lksdk.SimulateNodeFailure,
	"migration":        lksdk.SimulateMigration,
}
