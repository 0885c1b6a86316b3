//! `countersign policy`: what IAM must allow, and no more.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::settings::Settings;
use super::{Failure, print};
use crate::app::graphql_apis;
use crate::config::{self, Config, Problem, Problems};
use crate::iam::{self, ANY, ApiResource, ArnParts, IamPolicy, RecordingEntry};

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Options {
    /// GraphQL documents: files, directories of *.graphql and *.gql, or - for standard input; and
    /// before them the https URL of the API, if no configuration file has it
    #[arg(value_name = "URL|FILE")]
    inputs: Vec<String>,
    /// What a countersign has noted by --record FILE, or `iam.record`
    #[arg(long, value_name = "FILE")]
    recorded: Option<PathBuf>,
    /// A configuration file, for its GraphQL route, or for its `iam.record`; also
    /// COUNTERSIGN_CONFIG
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only this route; repeatable
    #[arg(long, value_name = "NAME")]
    route: Vec<String>,
    /// The region, where neither URL nor configuration tells it
    #[arg(long)]
    region: Option<String>,
    /// The account of the APIs, 12 digits [default: *]
    #[arg(long, value_name = "ID", value_parser = account)]
    account: Option<String>,
    /// An API's id, where its host does not tell it; ROUTE=ID where there are several; repeatable
    /// [default: *]
    #[arg(long, value_name = "[ROUTE=]ID", value_parser = api_id)]
    api_id: Vec<ApiId>,
    /// The stage of an API of API Gateway, such as prod or $default
    #[arg(long, value_name = "NAME", value_parser = stage)]
    stage: Option<String>,
}

#[derive(Clone, Debug)]
struct ApiId {
    route: Option<String>,
    id: String,
}

const AFTER_HELP: &str = "\
Examples:
  countersign policy --region eu-central-1 --account 123456789012 --api-id ID src/queries
  countersign policy https://ID.appsync-api.eu-central-1.amazonaws.com/graphql query.graphql

  countersign --record asked.json https://ID.appsync-api.eu-central-1.amazonaws.com/graphql
  countersign policy --recorded asked.json --account 123456789012 --api-id ID

The policy goes to standard output, what to know of it to standard error.

GraphQL: appsync:GraphQL on the root fields that are selected, through fragments, whatever @skip
and @include say. Root types are taken to be named Query, Mutation and Subscription. Fields below
the root are not named: where AppSync refuses one with `Not Authorized to access F on type T`, add
types/T/* or types/T/fields/F. That introspection is types/Query/fields/__schema and __type, and
that __typename is a field like others, is inferred: AWS does not document it.

Events: appsync:EventPublish and EventSubscribe on channel namespaces, EventConnect on the API
where channels are subscribed to. That publishing by HTTP needs no EventConnect is inferred, too.

API Gateway: execute-api:Invoke on methods and paths, for WebSockets on $connect,
execute-api:ManageConnections on @connections. Routes that messages choose on a WebSocket are not
seen. Of one place in the paths of a method 20 different segments are recorded; with the 21st the
place is *. IAM's * matches slashes, too.

Other services: what they call their actions cannot be told from requests.

A recording holds names only: root fields, namespaces, methods and paths; no URL's query, header,
variable or body. It grows from run to run; one countersign at a time may write to it.";

/// Where a place in documents or on the command line is wrong.
type Mistakes = Vec<Problem>;

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let failed = |mistakes| Failure::Config(Problems(mistakes));
    let (urls, files): (Vec<&String>, Vec<&String>) = options
        .inputs
        .iter()
        .partition(|input| input.starts_with("https://"));
    if let [_, second, ..] = urls.as_slice() {
        let message = format!("{second} is a second URL: one API at a time");
        return Err(failed(vec![problem("URL", &message)]));
    }
    let config = options.config(urls.first().map(|url| url.as_str()))?;
    let mut entries = Vec::new();
    if !files.is_empty() {
        let entry = options.documents(config.as_ref(), &files);
        entries.push(entry.map_err(failed)?);
    }
    let kept = config.and_then(|config| config.record);
    let recorded = options
        .recorded
        .as_ref()
        .or(kept.as_ref().filter(|_| files.is_empty()));
    if let Some(path) = recorded {
        entries.extend(options.recorded(path).map_err(failed)?);
    } else if files.is_empty() {
        let message = "is missing: name GraphQL documents, or a recording by --recorded";
        return Err(failed(vec![problem("FILE", message)]));
    }
    options.check_ids(&entries).map_err(failed)?;
    let mut policy = IamPolicy::default();
    for entry in &entries {
        policy.allow(&entry.api, &entry.operations, &options.naming(entry));
    }
    options.tell(&entries, &policy);
    if policy.is_empty() {
        let message = "nothing was asked for that a policy could allow";
        return Err(failed(vec![problem("", message)]));
    }
    print(&policy.to_json())
}

impl Options {
    /// If there is one to be had: documents alone need none.
    fn config(&self, url: Option<&str>) -> Result<Option<Config>, Failure> {
        let region = self.region.clone().filter(|_| url.is_some());
        let settings = Settings::of_file(self.config.clone())
            .set("route.NAME.target", url.map(str::to_owned))
            .set("route.NAME.region", region);
        let mut sources = settings.sources();
        // What is recorded is an answer of its own, whatever the environment configures.
        if self.config.is_none() && (url.is_some() || self.recorded.is_some()) {
            sources.file = None;
        }
        if url.is_none() && sources.file.is_none() {
            return Ok(None);
        }
        let (_, config) = config::load(&sources)?;
        Ok(Some(config))
    }

    fn documents(
        &self,
        config: Option<&Config>,
        files: &[&String],
    ) -> Result<RecordingEntry, Mistakes> {
        let mut mistakes = Mistakes::new();
        let api = self.graphql_api(config);
        let mut texts = Vec::new();
        for file in files {
            read(file, &mut texts, &mut mistakes);
        }
        let asked = iam::operations_in(&texts).map_err(|found| {
            let problems = found.into_iter().map(|mistake| Problem {
                key: String::new(),
                source: Some(mistake.place).filter(|place| !place.is_empty()),
                message: mistake.message,
            });
            mistakes.extend(problems);
        });
        match (api, asked) {
            (Ok((route, api)), Ok(operations)) if mistakes.is_empty() => Ok(RecordingEntry {
                route,
                api,
                operations,
            }),
            (Err(mistake), _) => {
                mistakes.insert(0, mistake);
                Err(mistakes)
            }
            (Ok(_), _) => Err(mistakes),
        }
    }

    /// Where the documents go.
    fn graphql_api(&self, config: Option<&Config>) -> Result<(String, ApiResource), Problem> {
        let Some(config) = config else {
            return Ok((String::new(), ApiResource::appsync(self.region.as_deref())));
        };
        let mut apis = graphql_apis(config);
        let names: Vec<String> = apis.iter().map(|(name, _)| name.clone()).collect();
        apis.retain(|(name, _)| self.is_wanted(name));
        match (apis.pop(), apis.as_slice()) {
            (Some(api), []) => Ok(api),
            (Some(_), _) => Err(problem(
                "--route",
                &format!("is needed: documents can go to {}", names.join(", ")),
            )),
            (None, _) if names.is_empty() => Err(problem(
                "",
                "no route leads to AppSync's GraphQL, which takes documents",
            )),
            (None, _) => Err(problem(
                "--route",
                &format!("names no route that takes documents: {}", names.join(", ")),
            )),
        }
    }

    fn recorded(&self, path: &Path) -> Result<Vec<RecordingEntry>, Mistakes> {
        let entries = iam::read(path).map_err(|error| {
            let message = crate::telemetry::error_chain(&error);
            vec![problem("", &message)]
        })?;
        let names: Vec<&str> = entries.iter().map(|entry| entry.route.as_str()).collect();
        let unknown = self
            .route
            .iter()
            .filter(|name| !names.contains(&name.as_str()));
        let mistakes: Mistakes = unknown
            .map(|name| {
                let message = format!("{name} was not recorded: {}", names.join(", "));
                problem("--route", &message)
            })
            .collect();
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let wanted = entries
            .into_iter()
            .filter(|entry| self.is_wanted(&entry.route));
        Ok(wanted.collect())
    }

    fn is_wanted(&self, route: &str) -> bool {
        self.route.is_empty() || self.route.iter().any(|wanted| wanted == route)
    }

    /// An id without a route must leave no doubt whose it is.
    fn check_ids(&self, entries: &[RecordingEntry]) -> Result<(), Mistakes> {
        let mut unnamed: Vec<&str> = entries
            .iter()
            .filter(|entry| entry.api.id().is_none() && can_be_named(&entry.api))
            .map(|entry| entry.route.as_str())
            .collect();
        unnamed.dedup();
        let bare = self.api_id.iter().filter(|id| id.route.is_none()).count();
        let mut mistakes = Mistakes::new();
        if bare > 1 || (bare == 1 && unnamed.len() > 1) {
            let message = format!("say ROUTE=ID: the routes are {}", unnamed.join(", "));
            mistakes.push(problem("--api-id", &message));
        }
        for route in self.api_id.iter().filter_map(|id| id.route.as_deref()) {
            if !entries.iter().any(|entry| entry.route == route) {
                let message = format!("there is no route {route}");
                mistakes.push(problem("--api-id", &message));
            }
        }
        match mistakes.is_empty() {
            true => Ok(()),
            false => Err(mistakes),
        }
    }

    fn naming(&self, entry: &RecordingEntry) -> ArnParts {
        let of_route = |id: &&ApiId| id.route.as_deref() == Some(entry.route.as_str());
        let bare = |id: &&ApiId| id.route.is_none() && entry.api.id().is_none();
        let id = self.api_id.iter().find(of_route);
        let id = id.or_else(|| self.api_id.iter().find(bare));
        ArnParts {
            account: self.account.clone(),
            api_id: id.map(|id| id.id.clone()),
            stage: self.stage.clone(),
        }
    }

    /// What must be known beside the policy, apart from it.
    fn tell(&self, entries: &[RecordingEntry], policy: &IamPolicy) {
        let mut notes = String::new();
        let mut note = |text: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(notes, "countersign: {text}");
        };
        if self.account.is_none() && !policy.is_empty() {
            note("any account: --account ID narrows it");
        }
        for entry in entries {
            let route = match entry.route.as_str() {
                "" => "the documents".to_owned(),
                route => format!("route {route}"),
            };
            let RecordingEntry {
                api, operations, ..
            } = entry;
            if !can_be_named(api) {
                let service = &api.service;
                note(&format!(
                    "{route}: not in the policy, because what {service} calls its actions cannot be told from requests"
                ));
                continue;
            }
            if api.region == ANY {
                note(&format!(
                    "{route}: any region: --region, or the API's URL, narrows it"
                ));
            }
            if api.id().is_none() && self.naming(entry).api_id.is_none() {
                let hint = match api.is_appsync() {
                    true => {
                        "AppSync's hosts do not tell it; `aws appsync list-graphql-apis` and `list-apis` do"
                    }
                    false => "the host does not tell it",
                };
                note(&format!(
                    "{route}: any API: --api-id ID narrows it ({hint})"
                ));
            }
            if api.is_api_gateway() && self.stage.is_none() && api.has_unknown_stage() {
                note(&format!(
                    "{route}: the URL does not tell the stage, so that paths are read in each way: --stage NAME narrows it"
                ));
            }
            let things = operations.entries();
            if things.iter().any(|(_, name)| name.starts_with("__")) {
                note(&format!(
                    "{route}: AWS does not document what introspection and __typename need; fields of the root type are taken for it"
                ));
            }
            if things
                .iter()
                .any(|(_, name)| name.split('/').any(|part| part == ANY))
            {
                note(&format!(
                    "{route}: * stands for what had too many different values to name them"
                ));
            }
        }
        let (size, largest) = (policy.size(), IamPolicy::MAX_SIZE);
        if size > largest {
            note(&format!(
                "the policy has {size} characters, and IAM takes {largest} in a managed policy: split it, by --route or by action, or widen it"
            ));
        }
        // Nothing is left to tell if standard error is closed, too.
        let _ = io::stderr().write_all(notes.as_bytes());
    }
}

/// Whether actions and ARNs are known.
fn can_be_named(api: &ApiResource) -> bool {
    api.is_appsync() || api.is_api_gateway()
}

/// Adds the documents at `input`, with their names.
fn read(input: &str, texts: &mut Vec<(String, String)>, mistakes: &mut Mistakes) {
    let found = match input {
        "-" => {
            let mut text = String::new();
            let read = io::stdin().read_to_string(&mut text);
            read.map(|_| texts.push(("standard input".to_owned(), text)))
        }
        input if Path::new(input).is_dir() => {
            let mut files = Vec::new();
            let walked = walk(Path::new(input), &mut files);
            files.sort();
            for file in &files {
                read(&file.display().to_string(), texts, mistakes);
            }
            walked
        }
        input => fs::read_to_string(input).map(|text| texts.push((input.to_owned(), text))),
    };
    if let Err(error) = found {
        mistakes.push(Problem {
            key: String::new(),
            source: Some(input.to_owned()),
            message: format!("cannot be read: {error}"),
        });
    }
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        // Of links to directories there may be circles.
        if entry.file_type()?.is_dir() {
            walk(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "graphql" || extension == "gql")
        {
            files.push(path);
        }
    }
    Ok(())
}

fn problem(key: &str, message: &str) -> Problem {
    Problem {
        key: key.to_owned(),
        source: None,
        message: message.to_owned(),
    }
}

fn account(text: &str) -> Result<String, String> {
    let is_account = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    match is_account {
        true => Ok(text.to_owned()),
        false => Err("an account has 12 digits".to_owned()),
    }
}

fn api_id(text: &str) -> Result<ApiId, String> {
    let (route, id) = match text.split_once('=') {
        Some((route, id)) => (Some(route.to_owned()), id),
        None => (None, text),
    };
    let is_id = !id.is_empty()
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match is_id {
        true => Ok(ApiId {
            route,
            id: id.to_owned(),
        }),
        false => Err("an id has letters, digits and -".to_owned()),
    }
}

fn stage(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_stage = !text.is_empty() && text.bytes().all(is_plain);
    match is_stage || text == "$default" {
        true => Ok(text.to_owned()),
        false => Err("a stage has letters, digits, - and _, or is $default".to_owned()),
    }
}
