//! Names to addresses, and addresses to TCP connections, as RFC 8305 ("Happy Eyeballs") describes.
//!
//! Look-ups are the operating system's, with nsswitch and /etc/hosts. They block, so each has a
//! thread of its own: one for a name at a time, whose result all that wait for the name get, and a
//! second one when the first hangs. The runtime's blocking threads serve other purposes, and its
//! queue would delay the first look-up that can succeed again.
//!
//! The race covers TCP alone, as in the RFC: a TLS handshake follows on the connection that won. An
//! address whose handshake failed is tried last from then on.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// Resolves names and connects to them; clones share what they know.
#[derive(Clone)]
pub struct Resolver(Arc<Shared>);

struct Shared {
    lookup: Box<Lookup>,
    /// Names come from the configuration alone, so there are few.
    names: Mutex<HashMap<Arc<str>, Name>>,
}

#[derive(Default)]
struct Name {
    known: Option<(Arc<[SocketAddr]>, Instant)>,
    /// Look-ups that are under way, and when the last of them began.
    lookups: usize,
    begun: Option<Instant>,
    outcome: watch::Sender<Option<Outcome>>,
    /// Addresses that did not connect, or later than another one.
    failed: HashMap<IpAddr, Instant>,
}

type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;
type Outcome = Result<Arc<[SocketAddr]>, Arc<io::Error>>;

/// RFC 8305, section 8, "Connection Attempt Delay".
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How long the result of a look-up is used again, so that a burst of connections costs one.
const FRESH: Duration = Duration::from_secs(5);
/// From here on a look-up hangs. The C library sends its question again after 5 s, so with two look-ups a
/// question is sent every two or three seconds, and a resolver that recovers is found soon.
const HANGS: Duration = Duration::from_secs(2);
const LOOKUPS: usize = 2;
/// How long an address that failed comes after the others (RFC 8305, section 4: about ten minutes).
const REMEMBERED: Duration = Duration::from_secs(600);
/// For a connection that only shows that an address can be reached.
const PROBE: Duration = Duration::from_secs(1);
const KEEPALIVE: Duration = Duration::from_secs(30);

static SYSTEM: LazyLock<Resolver> =
    LazyLock::new(|| Resolver::new(|host| (host, 0).to_socket_addrs().map(Iterator::collect)));

impl Resolver {
    /// Returns the process's resolver, which asks the operating system.
    pub fn system() -> Self {
        SYSTEM.clone()
    }

    /// Returns a resolver that asks `lookup`, which may block.
    pub fn new(
        lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            lookup: Box::new(lookup),
            names: Mutex::default(),
        }))
    }

    /// Connects to the first address of `host` that accepts a connection. The next address is tried
    /// after 250 ms, or at once when the one before fails; the attempts that lose are cancelled.
    ///
    /// It has no time limit: the caller cancels it.
    ///
    /// # Errors
    /// When the name has no address, or none accepts a connection.
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let addresses = at_port(self.resolve(host).await?, port);
        let stream = self.race(host, &addresses).await?;
        stream.set_nodelay(true)?;
        rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
        rustix::net::sockopt::set_tcp_keepidle(&stream, KEEPALIVE)?;
        Ok(stream)
    }

    /// Returns the addresses of `host`, first one that accepts connections at `port` if that is
    /// found within a second. For clients that connect by themselves, to one address after another.
    ///
    /// # Errors
    /// When the name has no address.
    pub async fn reachable_first(&self, host: &str, port: u16) -> io::Result<Vec<IpAddr>> {
        let mut addresses = self.resolve(host).await?;
        let is_local = addresses.iter().all(|address| address.ip().is_loopback());
        if addresses.len() > 1 && !is_local {
            let candidates = at_port(addresses.clone(), port);
            if let Ok(Ok(stream)) = timeout(PROBE, self.race(host, &candidates)).await
                && let Ok(peer) = stream.peer_addr()
            {
                addresses.sort_by_key(|address| address.ip() != peer.ip());
            }
        }
        Ok(addresses.iter().map(SocketAddr::ip).collect())
    }

    /// Puts an address of `host` after the others, because what follows TCP failed there.
    pub fn avoid(&self, host: &str, address: IpAddr) {
        if let Some(name) = self.0.names.lock().get_mut(host) {
            name.failed.insert(address, Instant::now());
        }
    }

    async fn race(&self, host: &str, addresses: &[SocketAddr]) -> io::Result<TcpStream> {
        let won = race(addresses).await;
        let mut names = self.0.names.lock();
        // An address that was given as such has no name.
        if let Some(name) = names.get_mut(host) {
            match &won {
                Ok((_, at)) => name.note(addresses, *at),
                // There may be others by now.
                Err(_) => name.known = None,
            }
        }
        won.map(|(stream, _)| stream)
    }

    /// Returns the addresses of `host` in the order in which to try them; their port is 0.
    async fn resolve(&self, host: &str) -> io::Result<Vec<SocketAddr>> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse() {
            return Ok(vec![SocketAddr::new(address, 0)]);
        }
        let mut outcome = match self.known_or_begun(host)? {
            Ok(addresses) => return Ok(addresses),
            Err(outcome) => outcome,
        };
        loop {
            match timeout(HANGS, outcome.changed()).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => return Err(io::Error::other(error)),
                Err(_) => match self.known_or_begun(host)? {
                    Ok(addresses) => return Ok(addresses),
                    Err(_) => continue,
                },
            }
        }
        let found = outcome.borrow().clone();
        match found {
            Some(Ok(addresses)) => Ok(self.ordered(host, &addresses)),
            Some(Err(error)) => Err(io::Error::new(error.kind(), error)),
            None => Err(io::Error::other("the lookup has no result")),
        }
    }

    /// Returns what is known, or what is to be waited for: a look-up is under way then.
    fn known_or_begun(
        &self,
        host: &str,
    ) -> io::Result<Result<Vec<SocketAddr>, watch::Receiver<Option<Outcome>>>> {
        let now = Instant::now();
        let mut names = self.0.names.lock();
        let name = names.entry(host.into()).or_default();
        if let Some((addresses, at)) = &name.known
            && now < *at + FRESH
        {
            let addresses = Arc::clone(addresses);
            return Ok(Ok(name.ordered(&addresses, now)));
        }
        let outcome = name.outcome.subscribe();
        let hangs = name.begun.is_none_or(|begun| now >= begun + HANGS);
        if name.lookups == 0 || (name.lookups < LOOKUPS && hangs) {
            self.begin(host)?;
            name.lookups += 1;
            name.begun = Some(now);
        }
        Ok(Err(outcome))
    }

    fn begin(&self, host: &str) -> io::Result<()> {
        let shared = Arc::clone(&self.0);
        let host: Arc<str> = host.into();
        let look_up = move || {
            let found = (shared.lookup)(&host);
            shared.finish(&host, found);
        };
        let thread = thread::Builder::new().name("resolver".to_owned());
        // It ends with the look-up, and the process does not wait for it.
        thread.spawn(look_up).map(drop)
    }

    fn ordered(&self, host: &str, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        match self.0.names.lock().get(host) {
            Some(name) => name.ordered(addresses, Instant::now()),
            None => addresses.to_vec(),
        }
    }
}

impl Shared {
    fn finish(&self, host: &str, found: io::Result<Vec<SocketAddr>>) {
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
                name.known = Some((Arc::clone(&addresses), Instant::now()));
                let is_current = |ip: &IpAddr| addresses.iter().any(|known| known.ip() == *ip);
                name.failed.retain(|ip, _| is_current(ip));
                Ok(addresses)
            }
            // The other one may still succeed.
            Err(_) if name.lookups > 0 => return,
            Err(error) => Err(Arc::new(error)),
        };
        name.outcome.send_replace(Some(outcome));
    }
}

impl Name {
    /// Notes that the attempt at the address with the index `at` won.
    fn note(&mut self, addresses: &[SocketAddr], at: usize) {
        let now = Instant::now();
        for (index, address) in addresses.iter().enumerate() {
            if index < at {
                self.failed.insert(address.ip(), now);
            } else if index == at {
                self.failed.remove(&address.ip());
            }
        }
    }

    fn ordered(&self, addresses: &[SocketAddr], now: Instant) -> Vec<SocketAddr> {
        let has_failed = |address: &SocketAddr| {
            let at = self.failed.get(&address.ip());
            at.is_some_and(|at| now < *at + REMEMBERED)
        };
        let (failed, good): (Vec<SocketAddr>, Vec<SocketAddr>) =
            addresses.iter().partition(|address| has_failed(address));
        let mut ordered = interleaved(&good);
        ordered.extend(interleaved(&failed));
        ordered
    }
}

/// Alternates the address families, beginning with that of the first address, and keeps the order
/// of each: the operating system sorts by RFC 6724.
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let mut unique: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        if !unique.contains(address) {
            unique.push(*address);
        }
    }
    let is_first = unique.first().map(SocketAddr::is_ipv6);
    let (first, second): (Vec<SocketAddr>, Vec<SocketAddr>) = unique
        .iter()
        .partition(|address| Some(address.is_ipv6()) == is_first);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut all = Vec::new();
    while all.len() < unique.len() {
        all.extend(first.next());
        all.extend(second.next());
    }
    all
}

fn at_port(mut addresses: Vec<SocketAddr>, port: u16) -> Vec<SocketAddr> {
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
        if let Some((at, address)) = next {
            attempts.push(async move { (at, address, TcpStream::connect(address).await) });
        }
        let has_more = waiting.len() > 0;
        tokio::select! {
            Some((at, address, connected)) = attempts.next() => match connected {
                Ok(stream) => return Ok((stream, at)),
                Err(error) => errors.push((*address, error)),
            },
            () = sleep(ATTEMPT_DELAY), if has_more => {}
            else => return Err(all(&errors)),
        }
    }
}

/// One error of several.
fn all(errors: &[(SocketAddr, io::Error)]) -> io::Error {
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
