//! `countersign policy`: prints a least-privilege IAM policy.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use super::output::{note, print};
use super::settings::Settings;
use crate::app::graphql_apis;
use crate::config::{self, Config, Problem, Problems};
use crate::iam::{self, ANY, ApiResource, ArnParts, IamPolicy, RecordingEntry};

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Options {
    /// GraphQL documents: files, directories of *.graphql and *.gql, or - for standard input. The
    /// https URL of the API can come first, if no configuration file contains it
    #[arg(value_name = "URL|FILE")]
    inputs: Vec<String>,
    /// Recording that countersign wrote with --record FILE or `iam.record`
    #[arg(long, value_name = "FILE")]
    recorded: Option<PathBuf>,
    /// Configuration file with a GraphQL route or `iam.record`; also COUNTERSIGN_CONFIG
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Route to print the policy of; repeatable [default: all routes]
    #[arg(long, value_name = "NAME")]
    route: Vec<String>,
    /// Region, if neither URL nor configuration contains it
    #[arg(long)]
    region: Option<String>,
    /// Account of the APIs, 12 digits [default: *]
    #[arg(long, value_name = "ID", value_parser = account)]
    account: Option<String>,
    /// ID of the API, if its host does not contain it; ROUTE=ID if there are several; repeatable
    /// [default: *]
    #[arg(long, value_name = "[ROUTE=]ID", value_parser = api_id)]
    api_id: Vec<ApiId>,
    /// Stage of an API of API Gateway, such as prod or $default
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

  countersign --record operations.json https://ID.appsync-api.eu-central-1.amazonaws.com/graphql
  countersign policy --recorded operations.json --account 123456789012 --api-id ID

The policy is written to standard output, notes on it to standard error.

GraphQL: appsync:GraphQL on the root fields that are selected, also through fragments, whatever the \
values of @skip and @include. The root types must be named Query, Mutation and Subscription. Fields \
below the root are not listed: if AppSync rejects one with `Not Authorized to access F on type T`, add \
types/T/* or types/T/fields/F. AWS does not document what introspection and __typename need: the \
policy has types/Query/fields/__schema and __type, and __typename as a field like others.

Events: appsync:EventPublish and EventSubscribe on channel namespaces, and EventConnect on the API if \
channels are subscribed to. AWS does not document whether publishing over HTTP needs EventConnect; the \
policy does not allow it for publishing alone.

API Gateway: execute-api:Invoke on methods and paths and, for WebSockets, on $connect; \
execute-api:ManageConnections on @connections. The routes that WebSocket messages select are not \
recorded. At each position in the paths of a method, up to 20 different segments are recorded; the \
21st turns the position into *. IAM's * matches slashes, too.

Other services are left out, because the names of their actions cannot be inferred from requests.

A recording contains names only: root fields, namespaces, methods and paths, but no query of a URL, \
header, variable or body. It grows from run to run. Only one countersign at a time may write to it.";

/// The mistakes in documents and on the command line.
type Mistakes = Vec<Problem>;

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let failed = |mistakes| Failure::Config(Problems(mistakes));
    let (urls, files): (Vec<&String>, Vec<&String>) = options
        .inputs
        .iter()
        .partition(|input| input.starts_with("https://"));
    if let [_, second, ..] = urls.as_slice() {
        let message = format!("{second} is a second URL: give one API at a time");
        return Err(failed(vec![problem("URL", &message)]));
    }
    let config = options.config(urls.first().map(|url| url.as_str()))?;
    let mut entries = Vec::new();
    if !files.is_empty() {
        let entry = options.documents(config.as_ref(), &files);
        entries.push(entry.map_err(failed)?);
    }
    let configured = config.and_then(|config| config.record);
    let recorded = options
        .recorded
        .as_ref()
        .or(configured.as_ref().filter(|_| files.is_empty()));
    if let Some(path) = recorded {
        entries.extend(options.recorded(path).map_err(failed)?);
    } else if files.is_empty() {
        let message = "there is nothing to allow yet: pass GraphQL documents, as in: countersign policy query.graphql. Or a recording: --recorded FILE";
        return Err(failed(vec![problem("", message)]));
    }
    options.check_ids(&entries).map_err(failed)?;
    let mut policy = IamPolicy::default();
    for entry in &entries {
        policy.allow(&entry.api, &entry.operations, &options.naming(entry));
    }
    options.print_notes(&entries, &policy);
    if policy.is_empty() {
        let message = "there are no operations that a policy could allow";
        return Err(failed(vec![problem("", message)]));
    }
    print(&policy.to_json())
}

impl Options {
    /// Returns the configuration, or `None` if there is none: documents do not need one.
    fn config(&self, url: Option<&str>) -> Result<Option<Config>, Failure> {
        let region = self.region.clone().filter(|_| url.is_some());
        let settings = Settings::of_file(self.config.clone())
            .set("route.NAME.target", url.map(str::to_owned))
            .set("route.NAME.region", region);
        let mut sources = settings.sources();
        // With a URL or a recording, the file that the environment names is not needed.
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
        let operations = iam::operations_in(&texts).map_err(|found| {
            let problems = found.into_iter().map(|problem| Problem {
                key: String::new(),
                source: Some(problem.location).filter(|location| !location.is_empty()),
                message: problem.message,
            });
            // That unreadable files contain no operation follows from the first mistake.
            if mistakes.is_empty() || !texts.is_empty() {
                mistakes.extend(problems);
            }
        });
        match (api, operations) {
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

    /// Returns the route and the API of the documents.
    fn graphql_api(&self, config: Option<&Config>) -> Result<(String, ApiResource), Problem> {
        let Some(config) = config else {
            return Ok((String::new(), ApiResource::appsync(self.region.as_deref())));
        };
        let mut apis = graphql_apis(config);
        let names: Vec<String> = apis.iter().map(|(name, _)| name.clone()).collect();
        apis.retain(|(name, _)| self.is_selected(name));
        match (apis.pop(), apis.as_slice()) {
            (Some(api), []) => Ok(api),
            (Some(_), _) => Err(problem(
                "--route",
                &format!("is needed: documents can be for {}", names.join(", ")),
            )),
            (None, _) if names.is_empty() => Err(problem(
                "",
                "GraphQL documents need a route to AppSync GraphQL, and none is configured",
            )),
            (None, _) => Err(problem(
                "--route",
                &format!("must be a route of AppSync GraphQL: {}", names.join(", ")),
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
                let message = format!(
                    "{name} is not in the recording, which has {}",
                    names.join(", ")
                );
                problem("--route", &message)
            })
            .collect();
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let selected = entries
            .into_iter()
            .filter(|entry| self.is_selected(&entry.route));
        Ok(selected.collect())
    }

    fn is_selected(&self, route: &str) -> bool {
        self.route.is_empty() || self.route.iter().any(|name| name == route)
    }

    /// Reports an ID without a route if several APIs have no ID, and IDs of unknown routes.
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
            let message = format!("must be ROUTE=ID: the routes are {}", unnamed.join(", "));
            mistakes.push(problem("--api-id", &message));
        }
        for route in self.api_id.iter().filter_map(|id| id.route.as_deref()) {
            if !entries.iter().any(|entry| entry.route == route) {
                let message = format!("no route is named {route}");
                mistakes.push(problem("--api-id", &message));
            }
        }
        if mistakes.is_empty() {
            Ok(())
        } else {
            Err(mistakes)
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

    /// Writes notes on the policy to standard error.
    fn print_notes(&self, entries: &[RecordingEntry], policy: &IamPolicy) {
        if self.account.is_none() && !policy.is_empty() {
            note("the policy is for any account: narrow it with --account ID");
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
                    "{route}: not in the policy, because the names of the actions of {service} do not follow from requests"
                ));
                continue;
            }
            if api.region == ANY {
                note(&format!(
                    "{route}: the policy is for any region: narrow it with --region, or the API's URL"
                ));
            }
            if api.id().is_none() && self.naming(entry).api_id.is_none() {
                let hint = if api.is_appsync() {
                    "AppSync's hosts do not contain the ID; `aws appsync list-graphql-apis` and `list-apis` print it"
                } else {
                    "the host does not contain the ID"
                };
                note(&format!(
                    "{route}: the policy is for any API: narrow it with --api-id ID ({hint})"
                ));
            }
            if api.is_api_gateway() && self.stage.is_none() && api.has_unknown_stage() {
                note(&format!(
                    "{route}: the URL does not show whether its path begins with the stage, so the policy covers both: narrow it with --stage NAME"
                ));
            }
            let recorded = operations.entries();
            if recorded.iter().any(|(_, name)| name.starts_with("__")) {
                note(&format!(
                    "{route}: AWS does not document what introspection and __typename need; the policy allows them as fields of the root type"
                ));
            }
            if recorded
                .iter()
                .any(|(_, name)| name.split('/').any(|part| part == ANY))
            {
                note(&format!(
                    "{route}: * stands for positions with too many different values to list"
                ));
            }
        }
        let (size, largest) = (policy.size(), IamPolicy::MAX_SIZE);
        if size > largest {
            note(&format!(
                "the policy has {size} characters, and IAM accepts {largest} in a managed policy: split it, by --route or by action, or widen it"
            ));
        }
    }
}

/// Whether countersign knows the names of the API's actions and ARNs.
fn can_be_named(api: &ApiResource) -> bool {
    api.is_appsync() || api.is_api_gateway()
}

/// Adds the documents in `input` to `texts`, with their names.
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
            source: None,
            message: config::unreadable(Path::new(input), &error),
        });
    }
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        // Symbolic links are not followed, because they may form a loop.
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
    let is_flag = key.starts_with("--");
    Problem {
        key: if is_flag {
            String::new()
        } else {
            key.to_owned()
        },
        source: is_flag.then(|| key.to_owned()),
        message: message.to_owned(),
    }
}

fn account(text: &str) -> Result<String, String> {
    let is_account = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_account {
        Ok(text.to_owned())
    } else {
        Err("an account has 12 digits".to_owned())
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
    if !is_id {
        return Err("an API ID consists of letters, digits and -".to_owned());
    }
    Ok(ApiId {
        route,
        id: id.to_owned(),
    })
}

fn stage(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_stage = !text.is_empty() && text.bytes().all(is_plain);
    if is_stage || text == "$default" {
        Ok(text.to_owned())
    } else {
        Err("a stage consists of letters, digits, - and _, or is $default".to_owned())
    }
}
