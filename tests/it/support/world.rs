//! The surroundings of a test: an emulator, countersign with routes to it, and a home directory.
//!
//! ```ignore
//! let world = World::builder().settings(&[("pool.spread", "1ms")]).in_process().await;
//! assert_eq!(world.query("{ rooms { id } }").await.status, 200);
//! ```

use std::fs::Permissions;
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use countersign::app::App;
use countersign::config::{self, Config, Credentials, Flag, Sources, Trust};
use countersign_emulator::{self as emulator, Emulator};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fakes::TlsPeer;

use super::{Answer, Daemon, JSON, PATIENCE, Scratch, Socket, demo_key, get, post, within};

/// An emulator and a directory. Tests that start several daemons start them here.
pub struct World {
    pub emulator: Emulator,
    /// The home directory of the daemons.
    pub home: Scratch,
}

/// Sets up a [`World`]. By default, the emulator has its own defaults, and countersign has the
/// emulator's key and the one route `/graphql`.
#[derive(Default)]
pub struct Builder {
    options: emulator::Options,
    routes: Vec<&'static str>,
    settings: Vec<(String, String)>,
    config: Option<String>,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    files: Vec<(String, String)>,
    peers: Vec<(&'static str, String)>,
    is_keyless: bool,
    has_admin: bool,
}

/// A [`World`] with countersign in it: [`InProcess`] or a [`Daemon`].
pub struct Running<C = InProcess> {
    pub world: World,
    pub addr: SocketAddr,
    pub countersign: C,
    admin: Option<SocketAddr>,
}

/// countersign in the test's own process.
pub struct InProcess {
    stop: Option<oneshot::Sender<()>>,
    hurry: Option<oneshot::Sender<()>>,
    done: JoinHandle<()>,
}

/// The routes that a world can have, and their targets.
const ROUTES: [(&str, &str); 5] = [
    ("graphql", "https://$API/graphql"),
    ("event", "https://$API/event"),
    ("rest", "https://$REST/prod"),
    ("http", "https://$HTTP/"),
    ("ws", "https://$WS/prod"),
];
/// The routes of the emulator's API Gateway. Paths below them are the path after the stage.
pub const GATEWAY: [&str; 3] = ["rest", "http", "ws"];
/// The emulator's CA certificate in the directory.
const CA_FILE: &str = "upstream.pem";
/// A setting for daemons whose log nobody reads: a full pipe would stop them.
pub const QUIET: &str = "log.filter = \"info,countersign::request=off\"\n";

// === impl Builder ===

impl Builder {
    pub fn emulator(mut self, options: emulator::Options) -> Self {
        self.options = options;
        self
    }

    /// The keys that the emulator accepts, in place of its own.
    pub fn keys(mut self, keys: Vec<emulator::Key>) -> Self {
        self.options.keys = keys;
        self
    }

    /// Adds routes by their names: `event`, `rest`, `http` or `ws`.
    pub fn routes(mut self, names: &[&'static str]) -> Self {
        self.routes.extend(names);
        self
    }

    /// Settings by dotted key, for [`Self::in_process`]; `,` separates the items of a list. A key in
    /// capitals is a variable of the environment, such as XDG_STATE_HOME, in which `tls.dev` keeps
    /// its CA. [`World::expand`] is applied to the values, and a route with a target of the emulator
    /// is connected to it.
    pub fn settings(mut self, settings: &[(&str, &str)]) -> Self {
        let owned = settings
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        self.settings.extend(owned);
        self
    }

    /// Lines of TOML for the daemon's configuration file, to which [`World::expand`] is applied.
    pub fn config(mut self, text: &str) -> Self {
        self.config.get_or_insert_default().push_str(text);
        self
    }

    /// Arguments of the daemon.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        let owned = arguments.iter().map(|&argument| argument.to_owned());
        self.arguments.extend(owned);
        self
    }

    /// Variables of the daemon's environment, beside HOME, which is the world's directory.
    /// [`World::expand`] is applied to the values.
    pub fn variables(mut self, variables: &[(&str, &str)]) -> Self {
        let owned = variables
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        self.variables.extend(owned);
        self
    }

    /// Leaves the emulator's key out of the daemon's environment.
    pub fn keyless(mut self) -> Self {
        self.is_keyless = true;
        self
    }

    /// A file in the directory, `$DIR`, that its owner alone may read. [`World::expand`] is applied to
    /// its text.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// A route of the daemon to a fake upstream, with more settings of the route, one a line.
    pub fn peer(mut self, name: &'static str, peer: &TlsPeer, target: &str, more: &str) -> Self {
        let file = format!("{name}.pem");
        let route = route(name, target, peer.addr, &format!("$DIR/{file}"), more);
        self.peers.push((name, route));
        self.file(&file, &peer.ca_pem)
    }

    /// Gives the daemon an admin listener.
    pub fn admin(mut self) -> Self {
        self.has_admin = true;
        self
    }

    /// An emulator and the files, without countersign.
    pub async fn start(self) -> World {
        let world = World {
            emulator: Emulator::start(self.options).await.unwrap(),
            home: Scratch::new("world"),
        };
        world.home.file(CA_FILE, world.emulator.ca_pem());
        for (name, text) in &self.files {
            let path = world.path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, world.expand(text)).unwrap();
            std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        }
        world
    }

    /// countersign in this process, with trust and credentials that need no files.
    pub async fn in_process(self) -> Running<InProcess> {
        let Self {
            options,
            routes,
            settings,
            config: None,
            arguments,
            variables,
            files,
            peers,
            is_keyless: false,
            has_admin: false,
        } = self
        else {
            panic!("a file, an environment and an admin listener are for daemons");
        };
        assert!(
            arguments.is_empty() && variables.is_empty() && peers.is_empty(),
            "arguments, variables and fake upstreams are for daemons"
        );
        let site = Self {
            options,
            files,
            ..Self::default()
        };
        let world = site.start().await;
        let config = world.config_of(&routes, &settings);
        let app = App::start(config).await.unwrap();
        let addr = app.addresses()[0];
        let (stop, stopped) = oneshot::channel();
        let (hurry, hurried) = oneshot::channel();
        let done = tokio::task::spawn(app.run(
            async {
                let _ = stopped.await;
            },
            async {
                if hurried.await.is_err() {
                    std::future::pending::<()>().await;
                }
            },
        ));
        Running {
            world,
            addr,
            countersign: InProcess {
                stop: Some(stop),
                hurry: Some(hurry),
                done,
            },
            admin: None,
        }
    }

    /// The built program. It is configured by its command line if `/graphql` is its only route and
    /// no configuration was given, otherwise by a file.
    pub async fn daemon(self) -> Running<Daemon> {
        assert!(self.settings.is_empty(), "write them into `config`");
        let site = Self {
            options: self.options,
            files: self.files,
            ..Self::default()
        };
        let world = site.start().await;
        let is_plain = self.routes.is_empty() && self.peers.is_empty() && self.config.is_none();
        let more: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let mut arguments = if is_plain {
            world.arguments(&more)
        } else {
            let has_peer = |name: &str| self.peers.iter().any(|(peer, _)| *peer == name);
            let routes = ["graphql"].iter().chain(&self.routes);
            let routes = routes.filter(|name| !has_peer(name));
            let mut text = String::new();
            text.extend(routes.map(|name| world.route(name, target(name), "")));
            text.extend(self.peers.iter().map(|(_, route)| route.as_str()));
            text.push_str(&self.config.unwrap_or_default());
            let text = world.expand(&text);
            let file = world.home.file("countersign.toml", &text);
            let all = ["--config", &file].into_iter().chain(more);
            all.map(str::to_owned).collect()
        };
        let listen = ["--listen", "127.0.0.1:0"].map(str::to_owned);
        arguments.splice(0..0, listen);
        let home = world.home.0.display().to_string();
        let mut environment = vec![("HOME", home.as_str())];
        if self.has_admin {
            environment.push(("COUNTERSIGN_ADMIN", "127.0.0.1:0"));
        }
        if !self.is_keyless {
            environment.extend(demo_key());
        }
        let more: Vec<(&str, String)> = self
            .variables
            .iter()
            .map(|(key, value)| (key.as_str(), world.expand(value)))
            .collect();
        environment.extend(more.iter().map(|(key, value)| (*key, value.as_str())));
        let mut daemon = Daemon::start(&arguments, &environment);
        let admin = match self.has_admin {
            true => Some(daemon.admin().await),
            false => None,
        };
        Running {
            world,
            addr: daemon.address().await,
            countersign: daemon,
            admin,
        }
    }
}

fn target(route: &str) -> &'static str {
    let found = ROUTES.iter().find(|(name, _)| *name == route);
    found.unwrap_or_else(|| panic!("no route {route:?}")).1
}

/// A route as lines of TOML with dotted keys, which a configuration may extend. They must come before
/// its first table.
fn route(name: &str, target: &str, connect: SocketAddr, ca_file: &str, more: &str) -> String {
    let own =
        format!("target = {target:?}\nconnect = \"{connect}\"\nca_file = {ca_file:?}\n{more}");
    let lines = own.lines();
    lines.map(|line| format!("route.{name}.{line}\n")).collect()
}

// === impl World ===

impl World {
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// An emulator with its defaults.
    pub async fn new() -> Self {
        Self::builder().start().await
    }

    /// Replaces `$API`, `$REST`, `$HTTP`, `$WS` and `$ANALYZER` by the emulator's names, and `$DIR`
    /// by the directory.
    pub fn expand(&self, text: &str) -> String {
        let directory = self.home.0.display().to_string();
        let names = [
            ("$API", self.emulator.api_host()),
            ("$REST", self.emulator.rest_host()),
            ("$HTTP", self.emulator.http_host()),
            ("$WS", self.emulator.websocket_host()),
            ("$ANALYZER", self.emulator.analyzer_host()),
            ("$DIR", &directory),
        ];
        let replace = |text: String, (name, value): (&str, &str)| text.replace(name, value);
        names.into_iter().fold(text.to_owned(), replace)
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.0.join(name)
    }

    /// The path of the emulator's CA certificate.
    pub fn ca_file(&self) -> String {
        self.path(CA_FILE).display().to_string()
    }

    /// The URL of the emulator's control listener.
    pub fn control(&self) -> String {
        format!("http://{}", self.emulator.control_addr())
    }

    /// A route to a target of the emulator, with more settings of the route, one a line. It must come
    /// before the first table of the configuration.
    pub fn route(&self, name: &str, target: &str, more: &str) -> String {
        let (connect, ca_file) = (self.emulator.addr(), self.ca_file());
        let target = self.expand(target);
        route(name, &target, connect, &ca_file, more)
    }

    /// The arguments that lead a daemon to the emulator's GraphQL API, after `more`.
    pub fn arguments(&self, more: &[&str]) -> Vec<String> {
        self.arguments_to(target("graphql"), self.emulator.addr(), more)
    }

    /// The same with another target, or another address to connect to.
    pub fn arguments_to(&self, target: &str, connect: SocketAddr, more: &[&str]) -> Vec<String> {
        let (target, connect) = (self.expand(target), connect.to_string());
        let own = ["--connect", &connect, "--ca-file", &self.ca_file(), &target];
        let all = more.iter().chain(&own);
        all.map(|&argument| argument.to_owned()).collect()
    }

    /// Starts a daemon with these arguments, with this environment and no other, on a port of its
    /// own. Its home is the directory.
    pub fn daemon(&self, more: &[&str], environment: &[(&str, &str)]) -> Daemon {
        let home = self.home.0.display().to_string();
        let environment = [&[("HOME", home.as_str())], environment].concat();
        let listen = ["--listen", "127.0.0.1:0"];
        Daemon::start(&self.arguments(&[&listen, more].concat()), &environment)
    }

    /// Starts a daemon with this configuration, to which [`Self::expand`] is applied, with the
    /// emulator's key and with more variables, on a port of its own.
    pub fn serve(&self, config: &str, variables: &[(&str, &str)]) -> Daemon {
        let name = format!("{}.toml", self.home.0.read_dir().unwrap().count());
        let config = self.home.file(&name, &self.expand(config));
        let home = self.home.0.display().to_string();
        let own = [&[("HOME", home.as_str())], &demo_key()[..]].concat();
        let arguments = ["--listen", "127.0.0.1:0", "--config", &config];
        Daemon::start(&arguments, &[&own, variables].concat())
    }

    /// Turns the emulator's switches, as its control listener would.
    pub fn switch(&self, change: Value) {
        let change = serde_json::from_value(change).unwrap();
        self.emulator.switch(&change).unwrap();
    }

    /// Waits until the emulator has seen what is expected.
    pub async fn saw(
        &self,
        what: &str,
        is_expected: impl FnMut(&emulator::Stats) -> bool,
    ) -> emulator::Stats {
        match tokio::time::timeout(PATIENCE, self.emulator.wait_for(is_expected)).await {
            Ok(stats) => stats,
            Err(_) => panic!(
                "the emulator did not see {what}: {:?}",
                self.emulator.stats()
            ),
        }
    }

    /// Waits until the emulator has so many subscriptions.
    pub async fn subscriptions(&self, count: usize) -> emulator::Stats {
        let what = format!("{count} subscriptions");
        self.saw(&what, |stats| stats.realtime.subscriptions == count)
            .await
    }

    fn config_of(&self, routes: &[&str], settings: &[(String, String)]) -> Config {
        let connect = self.emulator.addr().to_string();
        let mut flags = vec![flag("listen", "127.0.0.1:0"), flag("admin", "off")];
        for name in ["graphql"].iter().chain(routes) {
            let target = self.expand(target(name));
            flags.push(flag(&format!("route.{name}.target"), &target));
            flags.push(flag(&format!("route.{name}.connect"), &connect));
        }
        let mut environment = Vec::new();
        for (key, value) in settings {
            let value = self.expand(value);
            if key.starts_with(|first: char| first.is_ascii_uppercase()) {
                environment.push((key.clone(), value));
                continue;
            }
            if let Some(route) = key.strip_suffix(".target") {
                flags.push(flag(&format!("{route}.connect"), &connect));
            }
            flags.push(flag(key, &value));
        }
        let sources = Sources {
            flags,
            environment,
            ..Sources::default()
        };
        let (_, mut config) = config::load(&sources).unwrap();
        for route in &mut config.routes {
            route.trust = Trust::Pem(self.emulator.ca_pem().to_owned());
            route.credentials = Credentials::Fixed(aws_credential_types::Credentials::new(
                emulator::DEMO_ACCESS_KEY_ID,
                emulator::DEMO_SECRET_ACCESS_KEY,
                Some(emulator::DEMO_SESSION_TOKEN.to_owned()),
                None,
                "fixed",
            ));
        }
        config
    }
}

/// A setting as from the command line.
pub fn flag(key: &str, value: &str) -> Flag {
    let is_list = value.contains(',') || key.ends_with("hosts") || key.ends_with("origins");
    Flag {
        key: key.to_owned(),
        name: "test",
        values: value.split(',').map(str::to_owned).collect(),
        is_list: is_list || key == "listen",
    }
}

// === impl Running ===

impl<C> Deref for Running<C> {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl<C> Running<C> {
    /// `POST /graphql` with a query and no variables.
    pub async fn query(&self, query: &str) -> Answer {
        let body = json!({ "query": query }).to_string();
        post(self.addr, "/graphql", &[JSON], &body).await
    }

    pub async fn socket(&self) -> Socket {
        Socket::open(self.addr, &[]).await
    }

    /// A socket that has been acknowledged.
    pub async fn acked(&self) -> Socket {
        let mut socket = self.socket().await;
        socket.init().await;
        socket
    }

    /// The address of the admin listener, which [`Builder::admin`] asks for.
    #[track_caller]
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("ask the builder for it")
    }

    /// The metrics, in the text format.
    pub async fn metrics(&self) -> String {
        let answer = get(self.admin(), "/metrics", &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }
}

impl Running<InProcess> {
    /// Sends the first signal: the drain begins.
    pub fn begin_drain(&mut self) {
        let _ = self.countersign.stop.take().unwrap().send(());
    }

    /// Sends the second signal.
    pub fn hurry(&mut self) {
        let _ = self.countersign.hurry.take().unwrap().send(());
    }

    /// Waits for the end of the drain.
    pub async fn drained(mut self) {
        if self.countersign.stop.is_some() {
            self.begin_drain();
        }
        within("the drain", self.countersign.done).await.unwrap();
        let end = self.world.emulator.shutdown();
        within("the emulator's end", end).await;
    }
}

impl Running<Daemon> {
    /// Drains the daemon, which must end well, and returns its log.
    pub async fn stop(mut self) -> String {
        self.countersign.signal("-TERM");
        let code = self.countersign.exited().await;
        let log = self.countersign.log;
        assert_eq!(code, 0, "{log}");
        assert!(!log.contains("panicked"), "{log}");
        let end = self.world.emulator.shutdown();
        within("the emulator's end", end).await;
        log
    }
}
