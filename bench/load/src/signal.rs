//! A client's websocket: opened, read and written without waiting.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use mio::net::TcpStream;
use prost::Message as _;
use tungstenite::client::client;
use tungstenite::handshake::MidHandshake;
use tungstenite::{ClientHandshake, ClientRequestBuilder, HandshakeError, Message, WebSocket};

use crate::messages::{Request, Response, SignalRequest, SignalResponse};

/// Why a client has no signalling.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// The URL is not one of a server without encryption.
    #[error("{0} is not the URL of a server: ws://HOST:PORT")]
    Url(String),
    /// Nobody answers there.
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// The server did not open a websocket.
    #[error("the server refused: {status} {body}")]
    Refused {
        /// HTTP's.
        status: u16,
        /// What it said, on one line.
        body: String,
    },
    /// The connection has ended.
    #[error("the websocket ended: {0}")]
    Ended(String),
    /// A message that cannot be read.
    #[error("a message cannot be read: {0}")]
    Message(prost::DecodeError),
}

/// Where the server is.
#[derive(Debug, Clone)]
pub struct Server {
    /// `ws://host:port`, without a path.
    url: String,
    /// The first address that its name has.
    pub address: SocketAddr,
}

impl Server {
    /// Looks a URL up.
    pub fn find(url: &str) -> Result<Self, SignalError> {
        let url = url.trim_end_matches('/');
        let plain = url.strip_prefix("ws://").or_else(|| url.strip_prefix("http://"));
        let authority = plain.filter(|rest| !rest.is_empty() && !rest.contains('/'));
        let authority = authority.ok_or_else(|| SignalError::Url(url.to_owned()))?;
        let with_port = |text: &str| text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let target = if with_port(authority) { authority.to_owned() } else { format!("{authority}:80") };
        let mut found = target.to_socket_addrs().map_err(SignalError::Connect)?;
        let address = found.next().ok_or_else(|| SignalError::Url(url.to_owned()))?;
        Ok(Self { url: format!("ws://{authority}"), address })
    }
}

enum State {
    Opening(MidHandshake<ClientHandshake<TcpStream>>),
    Open(Box<WebSocket<TcpStream>>),
    Gone,
}

/// A websocket that speaks LiveKit's messages.
pub struct Signal {
    state: State,
}

impl Signal {
    /// Begins to connect. `register` is given the socket before it is used.
    pub fn open(
        server: &Server,
        token: &str,
        auto_subscribes: bool,
        register: impl FnOnce(&mut TcpStream) -> io::Result<()>,
    ) -> Result<Self, SignalError> {
        let mut stream = TcpStream::connect(server.address).map_err(SignalError::Connect)?;
        register(&mut stream).map_err(SignalError::Connect)?;
        let _ = stream.set_nodelay(true);
        let query = format!("sdk=go&version=2.5.0&protocol=16&auto_subscribe={}", u8::from(auto_subscribes));
        let url = format!("{}/rtc?{query}", server.url);
        let uri = url.parse().map_err(|_| SignalError::Url(url.clone()))?;
        let request = ClientRequestBuilder::new(uri).with_header("Authorization", format!("Bearer {token}"));
        let mut signal = Self { state: State::Gone };
        signal.state = opened(client(request, stream))?;
        Ok(signal)
    }

    /// Goes on with what the socket can do now, and hands over every message that has come.
    pub fn ready(&mut self, mut handle: impl FnMut(Response)) -> Result<(), SignalError> {
        if let State::Opening(_) = self.state {
            let State::Opening(handshake) = std::mem::replace(&mut self.state, State::Gone) else { return Ok(()) };
            if let Ok(Some(error)) = handshake.get_ref().get_ref().take_error() {
                return Err(SignalError::Connect(error));
            }
            self.state = opened(handshake.handshake())?;
        }
        let State::Open(socket) = &mut self.state else { return Ok(()) };
        match socket.flush() {
            Err(error) if !would_block(&error) => return Err(SignalError::Ended(error.to_string())),
            _ => {}
        }
        loop {
            match socket.read() {
                Ok(Message::Binary(bytes)) => {
                    let response = SignalResponse::decode(bytes).map_err(SignalError::Message)?;
                    response.message.map(&mut handle);
                }
                Ok(Message::Close(frame)) => {
                    let reason = frame.map_or("closed".to_owned(), |frame| frame.to_string());
                    return Err(SignalError::Ended(reason));
                }
                Ok(_) => {}
                Err(error) if would_block(&error) => return Ok(()),
                Err(error) => return Err(SignalError::Ended(error.to_string())),
            }
        }
    }

    /// Sends a message, or keeps it until the socket takes it.
    pub fn send(&mut self, request: Request) -> Result<(), SignalError> {
        let State::Open(socket) = &mut self.state else { return Ok(()) };
        let bytes = SignalRequest { message: Some(request) }.encode_to_vec();
        match socket.send(Message::binary(bytes)) {
            Err(error) if !would_block(&error) => Err(SignalError::Ended(error.to_string())),
            _ => Ok(()),
        }
    }
}

type Handshake = Result<
    (WebSocket<TcpStream>, tungstenite::handshake::client::Response),
    HandshakeError<ClientHandshake<TcpStream>>,
>;

fn opened(result: Handshake) -> Result<State, SignalError> {
    match result {
        Ok((socket, _)) => Ok(State::Open(Box::new(socket))),
        Err(HandshakeError::Interrupted(handshake)) => Ok(State::Opening(handshake)),
        Err(HandshakeError::Failure(tungstenite::Error::Http(response))) => {
            let body = String::from_utf8_lossy(response.body().as_deref().unwrap_or_default()).into_owned();
            let body = body.split_whitespace().take(40).collect::<Vec<_>>().join(" ");
            Err(SignalError::Refused { status: response.status().as_u16(), body })
        }
        Err(HandshakeError::Failure(tungstenite::Error::Io(error))) => Err(SignalError::Connect(error)),
        Err(HandshakeError::Failure(error)) => Err(SignalError::Ended(error.to_string())),
    }
}

fn would_block(error: &tungstenite::Error) -> bool {
    matches!(error, tungstenite::Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_host() {
        assert_eq!(Server::find("ws://127.0.0.1:7880/").unwrap().address, "127.0.0.1:7880".parse().unwrap());
        assert_eq!(Server::find("http://[::1]:7").unwrap().address, "[::1]:7".parse().unwrap());
        assert_eq!(Server::find("ws://127.0.0.1").unwrap().address.port(), 80);
        for url in ["wss://127.0.0.1:7880", "127.0.0.1:7880", "ws://", "ws://127.0.0.1:1/rtc", ""] {
            assert!(matches!(Server::find(url), Err(SignalError::Url(_))), "{url}");
        }
    }

    #[test]
    fn messages_that_are_of_no_concern_are_skipped() {
        // An update (field 5) and a pong (field 20), as a server sends them.
        for bytes in [&[0x2a, 0x00][..], &[0xa2, 0x01, 0x02, 0x08, 0x01]] {
            assert_eq!(SignalResponse::decode(bytes).unwrap().message, None);
        }
        assert!(SignalResponse::decode(&[0x0a, 0x7f][..]).is_err());
        let join = SignalResponse::decode(&[0x0a, 0x04, 0x30, 0x01, 0x58, 0x05][..]).unwrap().message;
        let Some(Response::Join(join)) = join else { panic!("{join:?}") };
        assert!(join.subscriber_primary && join.ping_interval == 5);
    }
}
