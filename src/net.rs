//! Resolves names and opens TCP connections, as RFC 8305 ("Happy Eyeballs") describes.
//!
//! The operating system looks names up, with nsswitch and /etc/hosts. A lookup blocks, so it has a
//! thread of its own. All callers that need the same name wait for one lookup, and for a second one if
//! the first stalls. The runtime's blocking threads are not used: their queue would delay the first
//! lookup after an outage, and stalled lookups would delay the other work of these threads.
//!
//! Connection attempts race until TCP is connected, as in the RFC; the TLS handshake follows on the
//! connection that won. An address whose handshake failed is tried last from then on.

mod roots;

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use parking_lot::Mutex;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

pub use roots::TlsRoots;
pub(crate) use roots::pem_of_environment;

/// Resolves names and connects to them. Clones share the cache.
#[derive(Clone)]
pub struct Resolver(Arc<ResolverInner>);

struct ResolverInner {
    lookup: Box<Lookup>,
    /// All names come from the configuration, so there are few.
    names: Mutex<HashMap<Arc<str>, NameState>>,
}

#[derive(Default)]
struct NameState {
    /// The result of the last successful lookup, and its time.
    cached: Option<(Arc<[SocketAddr]>, Instant)>,
    /// The number of running lookups.
    lookups: usize,
    last_lookup: Option<Instant>,
    outcome: watch::Sender<Option<Outcome>>,
    /// Addresses that failed, or were slower to connect than another one, and when.
    failed: HashMap<IpAddr, Instant>,
}

type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;
type Outcome = Result<Arc<[SocketAddr]>, Arc<io::Error>>;

/// The addresses of a name, or the lookup to wait for.
enum Resolution {
    Cached(Vec<SocketAddr>),
    Pending(watch::Receiver<Option<Outcome>>),
}

/// RFC 8305, section 8, "Connection Attempt Delay".
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How long the result of a lookup is used, so that a burst of connections needs one lookup.
const CACHE_TIME: Duration = Duration::from_secs(5);
/// The time after which a second lookup is started. The C library repeats its query after 5 s. With two
/// lookups, a query is sent every two or three seconds, so that a DNS server that recovers is noticed
/// soon.
const STALLED_AFTER: Duration = Duration::from_secs(2);
/// The maximum number of running lookups for one name.
const MAX_LOOKUPS: usize = 2;
/// How long a failed address is tried last (RFC 8305, section 4, suggests about ten minutes).
const FAILURE_TIME: Duration = Duration::from_secs(600);
/// The time limit for a connection that only shows whether an address can be reached.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// The time without data from the peer after which TCP checks whether the peer is still reachable.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// A connection is lost when its peer acknowledges neither data nor keepalive probes for so long, or does
/// not read while there is data to send. This does not depend on the number of probes that the system
/// sends.
const USER_TIMEOUT: Duration = Duration::from_secs(25);

static SYSTEM: LazyLock<Resolver> =
    LazyLock::new(|| Resolver::new(|host| (host, 0).to_socket_addrs().map(Iterator::collect)));

// === impl Resolver ===

impl Resolver {
    /// Returns the resolver of the process, which uses the operating system.
    pub fn system() -> Self {
        SYSTEM.clone()
    }

    /// Returns a resolver that calls `lookup`, which may block.
    pub fn new(
        lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(ResolverInner {
            lookup: Box::new(lookup),
            names: Mutex::default(),
        }))
    }

    /// Connects to the first address of `host` that accepts a connection. The next address is tried
    /// after 250 ms, or at once when the previous one fails. When one connects, the other attempts are
    /// cancelled.
    ///
    /// The caller has to set a time limit.
    ///
    /// # Errors
    /// When the name has no address, or no address accepts a connection.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let addresses = with_port(self.resolve(host).await?, port);
        let stream = self.race(host, &addresses).await?;
        stream.set_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE_INTERVAL);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        set_user_timeout(&stream, USER_TIMEOUT)?;
        Ok(stream)
    }

    /// Returns the addresses of `host`, beginning with one that accepts connections at `port`, if one is
    /// found within a second. For clients that try one address after the other themselves.
    ///
    /// # Errors
    /// When the name has no address.
    pub async fn reachable_first(&self, host: &str, port: u16) -> io::Result<Vec<IpAddr>> {
        let mut addresses = self.resolve(host).await?;
        let is_local = addresses.iter().all(|address| address.ip().is_loopback());
        if addresses.len() > 1 && !is_local {
            let candidates = with_port(addresses.clone(), port);
            if let Ok(Ok(stream)) = timeout(PROBE_TIMEOUT, self.race(host, &candidates)).await
                && let Ok(peer) = stream.peer_addr()
            {
                addresses.sort_by_key(|address| address.ip() != peer.ip());
            }
        }
        Ok(addresses.iter().map(SocketAddr::ip).collect())
    }

    /// Returns the addresses of `host`, in the order in which they would be tried.
    ///
    /// The caller has to set a time limit.
    ///
    /// # Errors
    /// When the name has no address.
    pub async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let addresses = self.resolve(host).await?;
        Ok(addresses.iter().map(SocketAddr::ip).collect())
    }

    /// Makes `address` the last of `host` to be tried, because it failed after TCP was connected.
    pub fn avoid(&self, host: &str, address: IpAddr) {
        if let Some(name) = self.0.names.lock().get_mut(host) {
            name.failed.insert(address, Instant::now());
        }
    }

    async fn race(&self, host: &str, addresses: &[SocketAddr]) -> io::Result<TcpStream> {
        let winner = race(addresses).await;
        let mut names = self.0.names.lock();
        // An IP literal has no entry.
        if let Some(name) = names.get_mut(host) {
            match &winner {
                Ok((_, index)) => name.record_race(addresses, *index),
                // The addresses may have changed since the lookup.
                Err(_) => name.cached = None,
            }
        }
        winner.map(|(stream, _)| stream)
    }

    /// Returns the addresses of `host` in the order in which to try them, with port 0.
    async fn resolve(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse() {
            return Ok(vec![SocketAddr::new(address, 0)]);
        }
        let mut outcome = match self.cached_or_pending(host)? {
            Resolution::Cached(addresses) => return Ok(addresses),
            Resolution::Pending(outcome) => outcome,
        };
        loop {
            match timeout(STALLED_AFTER, outcome.changed()).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => return Err(io::Error::other(error)),
                Err(_) => match self.cached_or_pending(host)? {
                    Resolution::Cached(addresses) => return Ok(addresses),
                    Resolution::Pending(_) => continue,
                },
            }
        }
        let outcome = outcome.borrow().clone();
        match outcome {
            Some(Ok(addresses)) => Ok(self.ordered(host, &addresses)),
            Some(Err(error)) => Err(io::Error::new(error.kind(), error)),
            None => Err(io::Error::other("the lookup has no result")),
        }
    }

    /// Returns the cached addresses of `host`; if there are none, ensures that a lookup is running.
    fn cached_or_pending(&self, host: &str) -> io::Result<Resolution> {
        let now = Instant::now();
        let mut names = self.0.names.lock();
        let name = names.entry(host.into()).or_default();
        if let Some((addresses, at)) = &name.cached
            && now < *at + CACHE_TIME
        {
            let addresses = Arc::clone(addresses);
            return Ok(Resolution::Cached(name.ordered(&addresses, now)));
        }
        let outcome = name.outcome.subscribe();
        let is_stalled = name.last_lookup.is_none_or(|at| now >= at + STALLED_AFTER);
        if name.lookups == 0 || (name.lookups < MAX_LOOKUPS && is_stalled) {
            self.spawn_lookup(host)?;
            name.lookups += 1;
            name.last_lookup = Some(now);
        }
        Ok(Resolution::Pending(outcome))
    }

    fn spawn_lookup(&self, host: &str) -> io::Result<()> {
        let resolver = Arc::clone(&self.0);
        let host: Arc<str> = host.into();
        let look_up = move || {
            let found = (resolver.lookup)(&host);
            resolver.finish_lookup(&host, found);
        };
        let thread = thread::Builder::new().name("resolver".to_owned());
        // The thread ends with the lookup, and the process does not wait for it.
        thread.spawn(look_up).map(drop)
    }

    fn ordered(&self, host: &str, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        match self.0.names.lock().get(host) {
            Some(name) => name.ordered(addresses, Instant::now()),
            None => addresses.to_vec(),
        }
    }
}

impl ResolverInner {
    fn finish_lookup(&self, host: &str, found: io::Result<Vec<SocketAddr>>) {
        let found = found.and_then(|addresses| {
            if addresses.is_empty() {
                let text = "the name has no address";
                return Err(io::Error::new(io::ErrorKind::NotFound, text));
            }
            Ok(addresses)
        });
        let mut names = self.names.lock();
        let Some(name) = names.get_mut(host) else {
            return;
        };
        name.lookups -= 1;
        let outcome = match found {
            Ok(addresses) => {
                let addresses: Arc<[SocketAddr]> = addresses.into();
                name.cached = Some((Arc::clone(&addresses), Instant::now()));
                let is_current = |ip: &IpAddr| addresses.iter().any(|known| known.ip() == *ip);
                name.failed.retain(|ip, _| is_current(ip));
                Ok(addresses)
            }
            // The other lookup may still succeed.
            Err(_) if name.lookups > 0 => return,
            Err(error) => Err(Arc::new(error)),
        };
        name.outcome.send_replace(Some(outcome));
    }
}

// === impl NameState ===

impl NameState {
    /// Records that `addresses[winner]` connected first, and that the addresses before it failed or
    /// were slower.
    fn record_race(&mut self, addresses: &[SocketAddr], winner: usize) {
        let now = Instant::now();
        for (index, address) in addresses.iter().enumerate() {
            if index < winner {
                self.failed.insert(address.ip(), now);
            } else if index == winner {
                self.failed.remove(&address.ip());
            }
        }
    }

    /// Returns the addresses in the order in which to try them: those that failed recently come last.
    fn ordered(&self, addresses: &[SocketAddr], now: Instant) -> Vec<SocketAddr> {
        let has_failed = |address: &SocketAddr| {
            let at = self.failed.get(&address.ip());
            at.is_some_and(|at| now < *at + FAILURE_TIME)
        };
        let (failed, good): (Vec<SocketAddr>, Vec<SocketAddr>) =
            addresses.iter().partition(|address| has_failed(address));
        let mut ordered = interleaved(&good);
        ordered.extend(interleaved(&failed));
        ordered
    }
}

/// Alternates between the address families, beginning with that of the first address. Within a family,
/// the order is kept, which is that of RFC 6724.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut unique: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        if !unique.contains(address) {
            unique.push(*address);
        }
    }
    let first_is_ipv6 = unique.first().map(SocketAddr::is_ipv6);
    let (first, second): (Vec<SocketAddr>, Vec<SocketAddr>) = unique
        .iter()
        .partition(|address| Some(address.is_ipv6()) == first_is_ipv6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut all = Vec::new();
    while all.len() < unique.len() {
        all.extend(first.next());
        all.extend(second.next());
    }
    all
}

/// Sets the time after which a connection is lost whose peer acknowledges nothing, or reads nothing of
/// data that waits to be sent. Only Linux has it; elsewhere, the system's number of retransmissions and
/// probes decides.
///
/// # Errors
/// When the system rejects the option.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables))]
pub fn set_user_timeout(stream: &TcpStream, timeout: Duration) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(stream).set_tcp_user_timeout(Some(timeout))?;
    Ok(())
}

fn with_port(mut addresses: Vec<SocketAddr>, port: u16) -> Vec<SocketAddr> {
    for address in &mut addresses {
        address.set_port(port);
    }
    addresses
}

/// Returns the first connection, and the index of its address.
async fn race(addresses: &[SocketAddr]) -> io::Result<(TcpStream, usize)> {
    let mut attempts = FuturesUnordered::new();
    let mut waiting = addresses.iter().enumerate();
    let mut errors = Vec::new();
    loop {
        let next = waiting.next();
        if let Some((index, address)) = next {
            attempts.push(async move { (index, address, TcpStream::connect(address).await) });
        }
        let has_more = waiting.len() > 0;
        tokio::select! {
            Some((index, address, connected)) = attempts.next() => match connected {
                Ok(stream) => return Ok((stream, index)),
                Err(error) => errors.push((*address, error)),
            },
            () = sleep(ATTEMPT_DELAY), if has_more => {}
            else => return Err(combined(&errors)),
        }
    }
}

/// Combines the errors of all attempts. The kind is that of the last one.
fn combined(errors: &[(SocketAddr, io::Error)]) -> io::Error {
    let kind = errors
        .last()
        .map_or(io::ErrorKind::NotFound, |(_, error)| error.kind());
    let texts: Vec<String> = errors
        .iter()
        .map(|(address, error)| format!("{address}: {error}"))
        .collect();
    io::Error::new(kind, texts.join("; "))
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

#[cfg(test)]
mod tests;
