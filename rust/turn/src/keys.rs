//! Who may relay: participants of this server, by names and passwords that its own keys vouch for.
//!
//! A name says which key, which participant and until when; the password is a digest of the same with the key's secret. So
//! nothing needs to be remembered between handing them out and checking them, and no other thread is asked.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};

use crate::base62;

/// The longest name that is read: a key, a participant and a time have some seventy characters.
const MAX_NAME: usize = 512;

/// Secrets by key.
#[derive(Clone, Default)]
pub struct Keys(HashMap<String, String>);

/// Why a name has no password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is none of ours.
    Unreadable,
    /// It names a key that is not known here.
    UnknownKey,
    /// It was good once.
    Expired,
}

impl Keys {
    /// Takes the server's keys with their secrets.
    pub fn new(secrets: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(secrets.into_iter().collect())
    }

    /// The password that goes with a name, at `now_s` seconds of Unix time.
    pub fn password(&self, name: &str, now_s: u64) -> Result<String, Refusal> {
        if name.len() > MAX_NAME {
            return Err(Refusal::Unreadable);
        }
        let text = base62::decode(name).and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(Refusal::Unreadable)?;
        let mut parts = text.rsplitn(3, '|');
        let (Some(expiry), Some(participant), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Refusal::Unreadable);
        };
        let expires_at: u64 = expiry.parse().map_err(|_| Refusal::Unreadable)?;
        let secret = self.0.get(key).ok_or(Refusal::UnknownKey)?;
        if expires_at <= now_s {
            return Err(Refusal::Expired);
        }
        let digest = digest(&SHA256, format!("{secret}|{participant}|{expiry}").as_bytes());
        Ok(base62::encode(digest.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::new([("devkey".to_owned(), "secret".to_owned())])
    }

    fn name(text: &str) -> String {
        base62::encode(text.as_bytes())
    }

    #[test]
    fn a_password_is_the_digest_of_secret_participant_and_expiry() {
        // From Python's hashlib: wire/ice_servers.py makes the same.
        let password = keys().password(&name("devkey|PA_x|1000"), 999);
        assert_eq!(password.as_deref(), Ok("Z8Y0dOEJJMIGLEUGR4FT2FTcvqwTNk4GvTXDw64IWww"));
    }

    #[test]
    fn names_end() {
        assert_eq!(keys().password(&name("devkey|PA_x|1000"), 1000), Err(Refusal::Expired));
    }

    #[test]
    fn other_names_have_no_password() {
        for text in ["devkey|PA_x", "devkey|PA_x|soon", "", "devkey|PA_x|99999999999999999999999"] {
            assert_eq!(keys().password(&name(text), 0), Err(Refusal::Unreadable), "{text}");
        }
        assert_eq!(keys().password("not base 62!", 0), Err(Refusal::Unreadable));
        assert_eq!(keys().password(&"a".repeat(MAX_NAME + 1), 0), Err(Refusal::Unreadable));
        assert_eq!(keys().password(&name("other|PA_x|1000"), 0), Err(Refusal::UnknownKey));
    }
}
