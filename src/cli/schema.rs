//! `countersign schema`: prints the schema of a GraphQL API.

use std::time::Duration;

use clap::Args;

use super::failure::Failure;
use super::output::print;
use super::runtime::runtime;
use super::settings::UpstreamSettings;
use crate::app;
use crate::check::Target;
use crate::config::{self, Config, Problem, Problems};
use crate::lifecycle::BackgroundTasks;
use crate::schema::introspect;
use crate::upstream::UpstreamKind;

#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Options {
    /// Print the result of the introspection as JSON
    #[arg(long)]
    json: bool,
    /// Route of the configuration file to ask [default: the only one of AppSync GraphQL]
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    #[command(flatten)]
    settings: UpstreamSettings,
}

const AFTER_HELP: &str = "\
Examples:
  countersign schema https://ID.appsync-api.REGION.amazonaws.com/graphql
  countersign schema --profile dev URL > schema.graphql
  countersign schema --json URL > schema.json
  countersign schema --config /etc/countersign.toml --route graphql

The schema is asked for with signed introspection queries, and printed in the schema definition \
language (SDL), which code generators, linters and editors read. Left out is what every GraphQL API has: \
the scalars Int, Float, String, Boolean and ID, and directives such as @include. --json prints \
{\"data\": {\"__schema\": ...}}, for tools that want JSON.

The SDL shows no uses of directives such as @aws_auth, because introspection does not contain them. \
The schema of `aws appsync get-introspection-schema` does.

The other options of countersign are accepted and not used.

Exit codes: 0 success; 1 the API cannot be reached or refuses introspection; 2 invalid usage or \
configuration; 3 the command could not start.";

/// How long the tasks may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let config = options.config()?;
    runtime()?.block_on(async {
        let background = BackgroundTasks::default();
        let targets = app::check_targets(&config, &background)?;
        let mut printed = Ok(());
        // Of the one route that is left.
        for target in &targets {
            printed = print_schema(target, options.json).await;
        }
        background.stop.cancel();
        background.tracker.close();
        let _ = tokio::time::timeout(STOP_TIMEOUT, background.tracker.wait()).await;
        printed
    })
}

async fn print_schema(target: &Target, is_json: bool) -> Result<(), Failure> {
    let introspection = introspect(target).await.map_err(Failure::Schema)?;
    let text = if is_json {
        introspection.json()
    } else {
        introspection.sdl()
    };
    print(&text.map_err(Failure::Schema)?)
}

impl Options {
    /// Returns the configuration with no other route than the one to ask.
    fn config(&self) -> Result<Config, Failure> {
        self.settings.0.check_url()?;
        let (_, mut config) = config::load(&self.settings.0.sources())?;
        let names: Vec<String> = config.routes.iter().map(|r| r.name.clone()).collect();
        match &self.route {
            Some(name) => config.routes.retain(|route| route.name == *name),
            // The URL is that of a GraphQL API, of any server.
            None if config.routes.len() > 1 => config
                .routes
                .retain(|route| route.endpoint.kind == UpstreamKind::Graphql),
            None => {}
        }
        let problem = match config.routes.as_slice() {
            [route] if route.endpoint.kind == UpstreamKind::Events => format!(
                "route {}: AppSync Events has no schema. Give the URL of a GraphQL API, which ends in /graphql",
                route.name
            ),
            [_] => return Ok(config),
            _ => format!(
                "the schema is that of one API: choose it with --route NAME. The routes are: {}",
                names.join(", ")
            ),
        };
        Err(Failure::Config(Problems(vec![Problem {
            key: String::new(),
            source: None,
            message: problem,
        }])))
    }
}
