//! What an emulator is started with: addresses, keys, limits, names.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The access key id of [`Key::demo`]. Like its companions it is made up, opens nothing anywhere,
/// and is no secret: it stands in AWS's own documentation.
pub const DEMO_ACCESS_KEY_ID: &str = "AKIDEXAMPLE";
/// The secret of [`Key::demo`], from AWS's documentation.
pub const DEMO_SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// The session token of [`Key::demo`].
pub const DEMO_SESSION_TOKEN: &str = "AQoDYXdzEXAMPLETOKEN==";

/// The account of the emulated APIs, as ARNs have it; from AWS's documentation.
pub const ACCOUNT: &str = "123456789012";

/// What an emulator is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the API listens, by TLS. A loopback address; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the control listener is, by plain HTTP. A loopback address; port 0 takes a free one.
    pub control: SocketAddr,
    pub region: String,
    /// The keys whose signatures are accepted.
    pub keys: Vec<Key>,
    /// Subscriptions that one realtime connection may hold.
    pub max_subscriptions: usize,
    /// The time between two `ka` frames.
    pub ka_interval: Duration,
    /// The `connectionTimeoutMs` of the acknowledgement.
    pub connection_timeout: Duration,
    /// After this a realtime connection is closed, with code 1000. AppSync's is 24 hours.
    pub connection_lifetime: Duration,
    /// Names beside those of AWS that are judged as a service's.
    pub custom_hosts: Vec<CustomHost>,
    /// Whether HTTP/2 is offered. What comes by HTTP/1.1 is judged, and echoed, byte for byte.
    pub http2: bool,
}

/// A custom domain of a REST API, or of another service. It has no stage in its paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomHost {
    /// In lower case, without a port.
    pub host: String,
    pub service: String,
    pub region: String,
}

/// An access key that the emulator knows. `Debug` shows its id only.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    pub access_key_id: String,
    pub secret_access_key: String,
    /// With one, every request must carry and sign it; without one, none may.
    pub session_token: Option<String>,
}

// === impl Options ===

/// Free ports of 127.0.0.1, `us-east-1`, the demo key, and AppSync's own numbers.
impl Default for Options {
    fn default() -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            listen: any_port,
            control: any_port,
            region: "us-east-1".to_owned(),
            keys: vec![Key::demo()],
            max_subscriptions: 100,
            ka_interval: Duration::from_secs(60),
            connection_timeout: Duration::from_secs(300),
            connection_lifetime: Duration::from_secs(24 * 60 * 60),
            custom_hosts: Vec::new(),
            http2: true,
        }
    }
}

// === impl Key ===

impl Key {
    /// The demo key, with its session token.
    pub fn demo() -> Self {
        Self {
            access_key_id: DEMO_ACCESS_KEY_ID.to_owned(),
            secret_access_key: DEMO_SECRET_ACCESS_KEY.to_owned(),
            session_token: Some(DEMO_SESSION_TOKEN.to_owned()),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let text = format!("{:?}", Options::default());
        assert!(text.contains(DEMO_ACCESS_KEY_ID));
        assert!(!text.contains(DEMO_SECRET_ACCESS_KEY) && !text.contains(DEMO_SESSION_TOKEN));
    }
}
