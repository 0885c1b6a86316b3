//! The settings of an emulator: addresses, keys, limits, names.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The access key id of [`Key::demo`]. This key is an example from AWS's documentation: it is not a
/// secret, and grants access to nothing.
pub const DEMO_ACCESS_KEY_ID: &str = "AKIDEXAMPLE";
/// The secret of [`Key::demo`], from AWS's documentation.
pub const DEMO_SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// The session token of [`Key::demo`].
pub const DEMO_SESSION_TOKEN: &str = "AQoDYXdzEXAMPLETOKEN==";

/// The account in the ARNs of the emulated APIs, from AWS's documentation.
pub const ACCOUNT: &str = "123456789012";

/// The settings of an emulator.
#[derive(Debug, Clone)]
pub struct Options {
    /// The loopback address of the API's listener, which serves TLS. Port 0 selects a free port.
    pub listen: SocketAddr,
    /// The loopback address of the control listener, which serves plain HTTP. Port 0 selects a free port.
    pub control: SocketAddr,
    pub region: String,
    /// The keys whose signatures are accepted.
    pub keys: Vec<Key>,
    /// The limit of subscriptions on one realtime connection.
    pub max_subscriptions: usize,
    /// The time between two `ka` frames.
    pub ka_interval: Duration,
    /// The `connectionTimeoutMs` of the acknowledgement.
    pub connection_timeout: Duration,
    /// The time after which a realtime connection is closed with code 1000. AppSync's is 24 hours.
    pub connection_lifetime: Duration,
    /// Host names to serve besides AWS's.
    pub custom_hosts: Vec<CustomHost>,
    /// Whether HTTP/2 is offered. Only HTTP/1.1 requests are verified and echoed byte for byte.
    pub http2: bool,
}

/// A custom domain of a REST API or of another service. Its paths have no stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomHost {
    /// The name in lower case, without a port.
    pub host: String,
    pub service: String,
    pub region: String,
}

/// An access key that the emulator accepts. `Debug` shows only its id.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    pub access_key_id: String,
    pub secret_access_key: String,
    /// If set, every request must carry this token and sign it. If not set, requests must not carry
    /// a token.
    pub session_token: Option<String>,
}

// === impl Options ===

/// Uses free ports of 127.0.0.1, `us-east-1`, the demo key, and AppSync's limits.
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
    /// Returns the demo key, with its session token.
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
