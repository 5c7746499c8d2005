// A client on LiveKit's Go SDK that a test drives: a request per line of standard input, an answer per line of output.
//
// Pictures are not encoded: a VP8 frame is the header of a keyframe, which says how large it is, and filling (RFC 6386
// section 9.1). What a decoder would see of them is counted at the other end.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

const frameRate = 15

var sources = map[string]livekit.TrackSource{
	"camera":       livekit.TrackSource_CAMERA,
	"microphone":   livekit.TrackSource_MICROPHONE,
	"screen_share": livekit.TrackSource_SCREEN_SHARE,
}

var names = map[livekit.TrackSource]string{
	livekit.TrackSource_CAMERA:       "camera",
	livekit.TrackSource_MICROPHONE:   "microphone",
	livekit.TrackSource_SCREEN_SHARE: "screen_share",
}

type request struct {
	ID         int
	Do         string
	URL        string
	Token      string
	Options    struct{ Single bool }
	Identity   string
	Identities []string
	Source     string
	Quality    string
	Scenario   string
	Flag       bool
	Text       string
	Topic      string
	Method     string
	Timeout    int
	Metadata   *string
	Name       *string
	Attributes map[string]string
}

type medium struct {
	Frames int `json:"frames"`
	Width  int `json:"width"`
	Energy int `json:"energy"`
}

type client struct {
	room *lksdk.Room

	lock      sync.Mutex
	events    []string
	heard     []message
	reason    *string
	media     map[string]*medium
	qualities map[string]string
}

func main() {
	lksdk.SetLogger(logger.GetDiscardLogger())
	c := &client{
		events: []string{}, heard: []message{}, media: map[string]*medium{}, qualities: map[string]string{},
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	out := json.NewEncoder(os.Stdout)
	var writing sync.Mutex
	answer := func(r request, err error) {
		said := map[string]any{"id": r.ID}
		if err == nil {
			said["result"], err = c.do(r)
		}
		if err != nil {
			said["error"] = err.Error()
		}
		writing.Lock()
		defer writing.Unlock()
		if err := out.Encode(said); err != nil {
			panic(err)
		}
	}
	for lines.Scan() {
		var r request
		err := json.Unmarshal(lines.Bytes(), &r)
		if r.Do == "call" {
			// Others go on while one that was called has not answered.
			go answer(r, err)
		} else {
			answer(r, err)
		}
	}
}

func (c *client) do(r request) (any, error) {
	switch r.Do {
	case "join":
		return nil, c.join(r)
	case "state":
		return c.state(), nil
	case "media":
		return c.counted(r), nil
	case "publish":
		return nil, c.publish(r.Source)
	case "unpublish":
		return nil, c.room.LocalParticipant.UnpublishTrack(c.mine(r.Source).SID())
	case "mute":
		c.mine(r.Source).SetMuted(r.Flag)
	case "describe":
		if r.Metadata != nil {
			c.room.LocalParticipant.SetMetadata(*r.Metadata)
		}
		if r.Name != nil {
			c.room.LocalParticipant.SetName(*r.Name)
		}
		if r.Attributes != nil {
			c.room.LocalParticipant.SetAttributes(r.Attributes)
		}
	case "choose":
		return nil, c.theirs(r).SetVideoQuality(livekit.VideoQuality(livekit.VideoQuality_value[r.Quality]))
	case "want":
		return nil, c.theirs(r).SetSubscribed(r.Flag)
	case "permit":
		permission := &livekit.SubscriptionPermission{AllParticipants: r.Identities == nil}
		for _, identity := range r.Identities {
			permission.TrackPermissions = append(permission.TrackPermissions,
				&livekit.TrackPermission{ParticipantIdentity: identity, AllTracks: true})
		}
		c.room.LocalParticipant.SetSubscriptionPermission(permission)
	case "simulate":
		scenario, ok := scenarios[r.Scenario]
		if !ok {
			return nil, fmt.Errorf("cannot simulate %q", r.Scenario)
		}
		c.room.Simulate(scenario)
	case "leave":
		if c.room != nil {
			c.room.Disconnect()
		}
	default:
		return c.doData(r)
	}
	return nil, nil
}

func (c *client) join(r request) error {
	callback := &lksdk.RoomCallback{
		OnReconnecting: func() { c.note("reconnecting") },
		OnReconnected:  func() { c.note("reconnected") },
		ParticipantCallback: lksdk.ParticipantCallback{
			OnTrackSubscribed: func(track *webrtc.TrackRemote, publication *lksdk.RemoteTrackPublication, _ *lksdk.RemoteParticipant) {
				go c.count(track, publication.SID())
			},
			OnDataPacket:            c.takePacket,
			OnTranscriptionReceived: c.takeTranscription,
			OnConnectionQualityChanged: func(update *livekit.ConnectionQualityInfo, one lksdk.Participant) {
				c.lock.Lock()
				defer c.lock.Unlock()
				c.qualities[one.Identity()] = strings.ToLower(update.Quality.String())
			},
		},
	}
	callback.OnDisconnectedWithReason = func(lksdk.DisconnectionReason) {
		// The room knows it in the words of the protocol.
		reason := c.room.DisconnectReason().String()
		c.lock.Lock()
		defer c.lock.Unlock()
		c.reason = &reason
	}
	room := lksdk.NewRoom(callback)
	c.room = room
	if err := c.serve(room); err != nil {
		return err
	}
	options := []lksdk.ConnectOption{lksdk.WithDisableRegionDiscovery()}
	if r.Options.Single {
		options = append(options, lksdk.WithSinglePeerConnection())
	}
	if err := room.JoinWithToken(r.URL, r.Token, options...); err != nil {
		c.room = nil
		return err
	}
	return nil
}

func (c *client) note(event string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.events = append(c.events, event)
}

func (c *client) state() map[string]any {
	others := map[string]any{}
	for _, one := range c.room.GetRemoteParticipants() {
		others[one.Identity()] = c.describe(one)
	}
	me := c.describe(c.room.LocalParticipant)
	c.lock.Lock()
	defer c.lock.Unlock()
	return map[string]any{
		"state":    string(c.room.ConnectionState()),
		"reason":   c.reason,
		"metadata": c.room.Metadata(),
		"events":   c.events,
		"heard":    c.heard,
		"me":       me,
		"others":   others,
	}
}

func (c *client) describe(one lksdk.Participant) map[string]any {
	tracks := map[string]any{}
	for _, publication := range one.TrackPublications() {
		info := publication.TrackInfo()
		tracks[names[publication.Source()]] = map[string]any{
			"sid":        publication.SID(),
			"kind":       string(publication.Kind()),
			"muted":      publication.IsMuted(),
			"subscribed": publication.IsSubscribed(),
			"width":      info.GetWidth(),
		}
	}
	c.lock.Lock()
	quality := c.qualities[one.Identity()]
	c.lock.Unlock()
	return map[string]any{
		"quality":    quality,
		"sid":        one.SID(),
		"identity":   one.Identity(),
		"name":       one.Name(),
		"metadata":   one.Metadata(),
		"attributes": one.Attributes(),
		"tracks":     tracks,
	}
}

func (c *client) mine(source string) *lksdk.LocalTrackPublication {
	return c.room.LocalParticipant.GetTrackPublication(sources[source]).(*lksdk.LocalTrackPublication)
}

func (c *client) theirs(r request) *lksdk.RemoteTrackPublication {
	participant := c.room.GetParticipantByIdentity(r.Identity)
	if participant == nil {
		return nil
	}
	publication, _ := participant.GetTrackPublication(sources[r.Source]).(*lksdk.RemoteTrackPublication)
	return publication
}

func (c *client) counted(r request) medium {
	publication := c.theirs(r)
	c.lock.Lock()
	defer c.lock.Unlock()
	if publication == nil || c.media[publication.SID()] == nil {
		return medium{}
	}
	return *c.media[publication.SID()]
}

// Reads a track to its end.
func (c *client) count(track *webrtc.TrackRemote, sid string) {
	c.lock.Lock()
	if c.media[sid] == nil {
		c.media[sid] = &medium{}
	}
	seen := c.media[sid]
	c.lock.Unlock()
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		c.lock.Lock()
		if track.Kind() == webrtc.RTPCodecTypeAudio {
			// Shorter ones are silence.
			if len(packet.Payload) > 20 {
				seen.Energy++
			}
		} else {
			var vp8 codecs.VP8Packet
			frame, err := vp8.Unmarshal(packet.Payload)
			if err == nil && vp8.S == 1 && len(frame) >= 10 && frame[0]&1 == 0 {
				seen.Width = int(frame[6]) | int(frame[7]&0x3f)<<8
			}
			if packet.Marker {
				seen.Frames++
			}
		}
		c.lock.Unlock()
	}
}

func (c *client) publish(source string) error {
	me := c.room.LocalParticipant
	options := &lksdk.TrackPublicationOptions{Name: source, Source: sources[source]}
	if source == "microphone" {
		track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2})
		if err != nil {
			return err
		}
		if _, err = me.PublishTrack(track, options); err != nil {
			return err
		}
		return track.StartWrite(&provider{data: make([]byte, 80), every: 20 * time.Millisecond}, nil)
	}
	vp8 := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
	options.VideoWidth, options.VideoHeight = 640, 360
	if source == "screen_share" {
		track, err := lksdk.NewLocalTrack(vp8)
		if err != nil {
			return err
		}
		if _, err = me.PublishTrack(track, options); err != nil {
			return err
		}
		return track.StartWrite(picture(640, 360), nil)
	}
	layers := []*livekit.VideoLayer{
		{Quality: livekit.VideoQuality_LOW, Width: 320, Height: 180},
		{Quality: livekit.VideoQuality_HIGH, Width: 640, Height: 360},
	}
	var tracks []*lksdk.LocalTrack
	for _, layer := range layers {
		track, err := lksdk.NewLocalTrack(vp8, lksdk.WithSimulcast("layers", layer))
		if err != nil {
			return err
		}
		tracks = append(tracks, track)
	}
	if _, err := me.PublishSimulcastTrack(tracks, options); err != nil {
		return err
	}
	for index, track := range tracks {
		if err := track.StartWrite(picture(layers[index].Width, layers[index].Height), nil); err != nil {
			return err
		}
	}
	return nil
}

// The same frame for ever.
type provider struct {
	data  []byte
	every time.Duration
}

func picture(width, height uint32) *provider {
	frame := make([]byte, 400)
	copy(frame, []byte{0x10, 0, 0, 0x9d, 0x01, 0x2a, byte(width), byte(width >> 8), byte(height), byte(height >> 8)})
	return &provider{data: frame, every: time.Second / frameRate}
}

func (p *provider) NextSample(context.Context) (media.Sample, error) {
	return media.Sample{Data: p.data, Duration: p.every}, nil
}

func (p *provider) OnBind() error   { return nil }
func (p *provider) OnUnbind() error { return nil }
func (p *provider) Close() error    { return nil }
