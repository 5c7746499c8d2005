//! What to do, as the Python front says it: one JSON document on standard input.

use serde::Deserialize;

/// A load.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// `ws://host:port` of the server.
    pub url: String,
    /// How long to measure, once all media flows.
    pub seconds: f64,
    /// Clients that join each second.
    pub join_rate: f64,
    /// How long after the last join media may take to flow.
    #[serde(default = "default_patience_s")]
    pub patience_s: f64,
    /// A subscriber decrypts one media packet in this many and counts the others by their clear headers.
    #[serde(default = "default_decrypt_every")]
    pub decrypt_every: u32,
    /// Packets of a video frame, 1,100 bytes each.
    #[serde(default = "default_packets_per_frame")]
    pub packets_per_frame: u32,
    /// Who joins, in this order.
    pub clients: Vec<Member>,
}

/// One client.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its room's name, to know whose tracks it must get.
    pub room: String,
    /// Its access token.
    pub token: String,
    /// It publishes an audio track.
    #[serde(default)]
    pub audio: bool,
    /// It publishes a video track.
    #[serde(default)]
    pub video: bool,
    /// It receives all tracks of the others.
    #[serde(default)]
    pub subscribes: bool,
}

impl Member {
    /// How many tracks it publishes.
    pub fn tracks(&self) -> usize {
        usize::from(self.audio) + usize::from(self.video)
    }
}

impl Plan {
    /// How many streams each client must receive, in the order of `clients`.
    pub fn expected_streams(&self) -> Vec<usize> {
        let mut tracks_by_room = std::collections::HashMap::new();
        for member in &self.clients {
            *tracks_by_room.entry(member.room.as_str()).or_insert(0) += member.tracks();
        }
        let others = |member: &Member| tracks_by_room[member.room.as_str()] - member.tracks();
        self.clients.iter().map(|member| if member.subscribes { others(member) } else { 0 }).collect()
    }
}

fn default_patience_s() -> f64 {
    20.0
}

fn default_decrypt_every() -> u32 {
    100
}

fn default_packets_per_frame() -> u32 {
    8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_expects_the_others_tracks_of_their_room() {
        let plan: Plan = serde_json::from_str(
            r#"{"url": "ws://x", "seconds": 1, "join_rate": 10, "clients": [
                {"room": "a", "token": "", "audio": true, "video": true, "subscribes": true},
                {"room": "a", "token": "", "audio": true, "subscribes": true},
                {"room": "a", "token": "", "subscribes": true},
                {"room": "b", "token": "", "video": true},
                {"room": "b", "token": "", "subscribes": true}]}"#,
        )
        .unwrap();
        assert_eq!(plan.expected_streams(), [1, 2, 3, 0, 1]);
        assert_eq!(plan.decrypt_every, 100);
    }

    #[test]
    fn an_unknown_wish_is_an_error() {
        let plan = r#"{"url": "ws://x", "seconds": 1, "join_rate": 10, "clients": [], "simulcats": true}"#;
        assert!(serde_json::from_str::<Plan>(plan).is_err());
    }
}
