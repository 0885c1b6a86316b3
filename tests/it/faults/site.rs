//! One countersign between clients and the emulator: `/graphql` through the relay, and `/neighbour`
//! without it. Operations of each kind are sent through it, and what the client saw becomes text.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use countersign_emulator::{Key, Options};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::client::{Subscription, describe_message, mutation, next_number, open, request_on};
use super::relay::{Mode, Relay};
use super::{Cell, Kind, Seen};
use crate::support::{Daemon, PATIENCE, World, command, demo_key, get, within};

/// How a site is set up.
pub struct Setup {
    pub options: Options,
    /// Keys that the emulator accepts beside its own.
    pub keys: Vec<Key>,
    /// Lines of TOML with dotted keys.
    pub config: String,
    /// Settings of the route through the relay, one a line.
    pub route: &'static str,
    /// The address of the relay, and what the route connects to if not that.
    pub relay: SocketAddr,
    pub connect: Option<&'static str>,
    pub alpn: &'static [&'static str],
    /// A script that prints credentials, instead of the emulator's key in the environment. The neighbour
    /// uses a profile with that key.
    pub process: Option<String>,
    pub variables: Vec<(&'static str, String)>,
    pub filter: &'static str,
    /// Listeners beside one on 127.0.0.1.
    pub listen: &'static [&'static str],
    /// Builds the command that starts countersign with its arguments, instead of the plain one.
    pub launch: Option<Launch>,
    /// Starts countersign while the relay's port is closed.
    pub is_down: bool,
}

pub type Launch = Box<dyn Fn(&[&str]) -> Command + Send + Sync>;

impl Default for Setup {
    fn default() -> Self {
        Self {
            options: Options::default(),
            keys: Vec::new(),
            config: String::new(),
            route: "",
            relay: ([127, 0, 0, 1], 0).into(),
            connect: None,
            alpn: &["http/1.1"],
            process: None,
            variables: Vec::new(),
            filter: "info,countersign::request=off",
            listen: &[],
            launch: None,
            is_down: false,
        }
    }
}

pub struct Site {
    pub world: World,
    pub relay: Relay,
    pub daemon: Daemon,
    pub addr: SocketAddr,
    pub admin: SocketAddr,
    run: Command,
    pub neighbour: Mutex<Option<Subscription>>,
}

const ROOMS: &str = "{ rooms { id } }";
// === impl Site ===

impl Site {
    pub async fn new() -> Self {
        Self::start(Setup::default()).await
    }

    /// Starts a site with more lines of configuration.
    pub async fn with(config: &str) -> Self {
        let config = config.to_owned();
        Self::start(Setup {
            config,
            ..Setup::default()
        })
        .await
    }

    pub async fn start(setup: Setup) -> Self {
        let mut options = setup.options.clone();
        options.keys.extend(setup.keys.clone());
        let profile: String = demo_key()
            .iter()
            .map(|(name, value)| format!("{} = {value}\n", name.to_ascii_lowercase()))
            .collect();
        let profile = format!("[neighbour]\n{profile}");
        let world = World::builder()
            .emulator(options)
            .file("process.sh", setup.process.as_deref().unwrap_or_default())
            .file(
                ".aws/config",
                "[default]\ncredential_process = /bin/sh $DIR/process.sh\n",
            )
            .file(".aws/credentials", &profile)
            .start()
            .await;
        let emulator = &world.emulator;
        let names = [emulator.api_host(), emulator.realtime_host()];
        let ca = emulator.ca_pem();
        let relay = Relay::start(setup.relay, emulator.addr(), ca, &names, setup.alpn).await;
        let ca_file = world.home.file("relay.pem", &relay.ca_pem);
        let port = relay.addr.port().to_string();
        let connect = match &setup.connect {
            Some(name) => name.replace("PORT", &port),
            None => relay.addr.to_string(),
        };
        let mut config = world.route("neighbour", "https://$API/graphql", "path = \"/neighbour\"");
        if setup.process.is_some() {
            config.push_str("route.neighbour.profile = \"neighbour\"\n");
        }
        let own = format!(
            "target = \"https://$API/graphql\"\nconnect = {connect:?}\nca_file = {ca_file:?}\n{}",
            setup.route
        );
        let own = own.lines().map(|line| format!("route.graphql.{line}\n"));
        config.extend(own);
        config.push_str(&format!(
            "log.filter = {:?}\n{}",
            setup.filter, setup.config
        ));
        let config = world.home.file("countersign.toml", &world.expand(&config));
        let mut arguments = vec!["--listen", "127.0.0.1:0", "--config", &config];
        arguments.extend(
            setup
                .listen
                .iter()
                .flat_map(|address| ["--listen", *address]),
        );
        let arguments: Vec<String> = arguments
            .into_iter()
            .map(|text| world.expand(text))
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut run = match &setup.launch {
            Some(launch) => launch(&arguments),
            None => command(&arguments, &[]),
        };
        if setup.is_down {
            relay.close().await;
        }
        run.env("HOME", &world.home.0)
            .env("PATH", "/usr/bin:/bin")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("COUNTERSIGN_ADMIN", "127.0.0.1:0");
        if setup.process.is_none() {
            run.envs(demo_key());
        }
        let variables = setup.variables.iter();
        run.envs(variables.map(|(name, value)| (*name, world.expand(value))));
        let mut daemon = Daemon::spawn(&mut run);
        let admin = daemon.admin().await;
        let addr = daemon.address().await;
        let site = Self {
            world,
            relay,
            daemon,
            addr,
            admin,
            run,
            neighbour: Mutex::new(None),
        };
        *site.neighbour.lock().await = Some(site.subscribe("/neighbour").await);
        site
    }

    /// Starts countersign again, after its end.
    pub async fn restart(&mut self) {
        self.daemon = Daemon::spawn(&mut self.run);
        self.admin = self.daemon.admin().await;
        self.addr = self.daemon.address().await;
    }

    /// Leaves this many idle connections in the pool.
    pub async fn pool(&self, count: u64) {
        self.world.switch(json!({ "gate": true }));
        let before = self.world.emulator.stats().requests.queries;
        let queries = (0..count).map(|_| self.request("/graphql", "{ slow(ms: 0) }"));
        let opened = async {
            let what = format!("{count} queries");
            let is_so =
                |stats: &countersign_emulator::Stats| stats.requests.queries >= before + count;
            self.world.saw(&what, is_so).await;
            self.world.switch(json!({ "gate": false }));
        };
        let (outcomes, ()) = tokio::join!(join_all(queries), opened);
        assert!(
            outcomes.iter().all(|outcome| outcome == "served"),
            "{outcomes:?}"
        );
    }

    /// Warms the pool, breaks the relay, sends one operation of each kind, mends the relay, and waits
    /// until each kind is served again.
    pub async fn under(&self, mode: Mode) -> Seen {
        self.relay.set(mode);
        let mut seen = self.all().await;
        self.relay.set(Mode::Forward);
        self.recovery(&mut seen).await;
        seen
    }

    /// Serves one operation of each kind, so that connections are pooled.
    pub async fn warm(&self) {
        for kind in Kind::ALL {
            let seen = self.send(kind).await;
            assert_eq!(seen.outcome, "served", "before the fault: {kind:?}");
        }
    }

    /// Sends one operation of each kind at once, and looks after the neighbour meanwhile.
    pub async fn all(&self) -> Seen {
        let (query, mutation, subscription, neighbour) = tokio::join!(
            self.send(Kind::Query),
            self.send(Kind::Mutation),
            self.send(Kind::Subscription),
            self.undisturbed(),
        );
        Seen {
            cells: [query, mutation, subscription],
            neighbour: Some(neighbour),
        }
    }

    pub async fn send(&self, kind: Kind) -> Cell {
        self.send_to(kind, "/graphql").await
    }

    pub async fn send_to(&self, kind: Kind, path: &str) -> Cell {
        let mut cell = Cell::default();
        cell.outcome = match kind {
            Kind::Query => self.request(path, ROOMS).await,
            Kind::Mutation => {
                let name = next_number().to_string();
                let query = mutation(&name);
                cell.mutation = Some(name);
                self.request(path, &query).await
            }
            Kind::Subscription => match open(self.addr, path).await {
                Ok(mut socket) => self.event(&mut socket).await,
                Err(outcome) => outcome,
            },
        };
        cell
    }

    pub async fn request(&self, path: &str, query: &str) -> String {
        match TcpStream::connect(self.addr).await {
            Ok(stream) => request_on(stream, path, query).await,
            Err(error) => format!("connect: {}", error.kind()),
        }
    }

    /// Opens a live subscription.
    pub async fn subscribe(&self, path: &str) -> Subscription {
        let socket = open(self.addr, path).await;
        let mut socket = socket.unwrap_or_else(|outcome| panic!("before the fault: {outcome}"));
        assert_eq!(self.event(&mut socket).await, "served", "before the fault");
        socket
    }

    /// Sends events to all live subscriptions until the socket receives one of them or ends, and
    /// describes that.
    pub async fn event(&self, socket: &mut Subscription) -> String {
        let first = next_number();
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        let next = async {
            loop {
                tokio::select! {
                    _ = ticks.tick() => {
                        let body = json!({ "onMessage": { "body": next_number().to_string() } });
                        let frame = json!({ "id": "$ID", "type": "data", "payload": { "data": body } });
                        self.world.switch(json!({ "send_all": frame.to_string() }));
                    }
                    message = socket.0.next() => {
                        if let Some(outcome) = describe_message(message, first) {
                            return outcome;
                        }
                    }
                }
            }
        };
        let outcome = tokio::time::timeout(PATIENCE, next).await;
        outcome.unwrap_or_else(|_| format!("nothing for {PATIENCE:?}"))
    }

    /// Measures how long a query and an event of the neighbour take.
    pub async fn undisturbed(&self) -> Result<Duration, String> {
        let mut neighbour = self.neighbour.lock().await;
        let begun = Instant::now();
        let query = self.request("/neighbour", ROOMS).await;
        let event = match neighbour.as_mut() {
            Some(socket) => self.event(socket).await,
            None => "no subscription".to_owned(),
        };
        match (query.as_str(), event.as_str()) {
            ("served", "served") => Ok(begun.elapsed()),
            _ => Err(format!("query {query}, subscription {event}")),
        }
    }

    /// Measures how long it takes until each kind is served, and counts what the mutations did.
    pub async fn recovery(&self, seen: &mut Seen) {
        let back = async |kind: Kind| {
            let begun = Instant::now();
            loop {
                let cell = self.send(kind).await;
                if cell.outcome == "served" {
                    return begun.elapsed();
                }
                let text = cell.outcome;
                assert!(
                    begun.elapsed() < PATIENCE,
                    "not served again: {kind:?} {text}"
                );
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let [query, mutation, subscription] = Kind::ALL;
        let times = tokio::join!(back(query), back(mutation), back(subscription));
        for (cell, time) in seen.cells.iter_mut().zip([times.0, times.1, times.2]) {
            cell.back = Some(time);
        }
        self.count(seen);
    }

    /// Counts how often the mutations were executed.
    pub fn count(&self, seen: &mut Seen) {
        let mutations = self.world.emulator.stats().mutations;
        for cell in &mut seen.cells {
            if let Some(name) = &cell.mutation {
                let executed = mutations.get(&format!("lobby/{name}"));
                cell.executed = Some(executed.copied().unwrap_or(0));
            }
        }
    }

    pub async fn health(&self, path: &str) -> u16 {
        get(self.admin, path, &[]).await.status
    }

    /// Returns the sum of a metric's samples.
    pub async fn metric(&self, name: &str) -> f64 {
        let page = get(self.admin, "/metrics", &[]).await.body;
        let samples = page.lines().filter_map(|line| {
            let rest = line.strip_prefix("countersign_")?.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then_some(())?;
            rest.rsplit(' ').next()?.parse::<f64>().ok()
        });
        samples.sum()
    }

    /// Waits for a state of the emulator or the relay, and returns how long it took.
    pub async fn wait(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) -> Duration {
        let begun = Instant::now();
        let waiting = async {
            while !is_so(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(what, waiting).await;
        begun.elapsed()
    }
}
