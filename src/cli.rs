//! The command line.

mod inspect;
mod key;
mod manage;
mod person;
mod run;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::builder::Resettable;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, ParseError, Targets};
use tracing_subscriber::layer::{Filter, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::app::{Clock, OsEntropy};
use crate::config::Config;
use crate::dialect::Dialect;
use crate::domain::command::{self, Entropy};
use crate::domain::error::Error;
use crate::log;
use crate::pipeline::{Envelope, Outcome, Pipeline, Reply};
use crate::store::{Store, Writer, WriterHandle};

/// One self-hosted server for certificates, classes, sign-in, relationships and enrollments.
///
/// It speaks five documented APIs (Kolleges, the partner API, Ncloud SSO, SOLAPI CRM, iSpring
/// Learn) over one database. Try `haksa demo` first: it serves a small account and prints a command
/// for each API to paste.
#[derive(Debug, Parser)]
#[command(
    name = "haksa",
    version,
    max_term_width = 100,
    after_help = "Example:\n  haksa demo\n\n\
                  Logs go to standard error, as JSON unless that is a terminal. HAKSA_LOG chooses \
                  what is logged, e.g. HAKSA_LOG=warn or HAKSA_LOG=info,haksa=debug."
)]
struct Cli {
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Serve a demonstration account and print commands to paste.
    #[command(after_help = "Example:\n  haksa demo --listen 127.0.0.1:8080")]
    Demo(run::DemoOptions),
    /// Serve.
    #[command(
        after_help = "Example:\n  haksa serve --database sqlite:haksa.db --listen 127.0.0.1:8080\n\n\
        Every option is also an environment variable and, but for --config, a key of the\n\
        configuration file. The database is made and brought up to date at the start."
    )]
    Serve(Box<run::ServeOptions>),
    /// Bring a database's tables up to date.
    #[command(after_help = "Example:\n  haksa migrate --database sqlite:haksa.db")]
    Migrate(DatabaseOptions),
    /// Check a database: every record is what its history makes of it, and all that it names is there.
    ///
    /// Nothing is changed, a server may be running, and the database may be a copy that is read-only.
    #[command(after_help = "Example:\n  haksa check --database sqlite:haksa.db\n\n\
        Exit codes: 0 all is well, 1 faults were found (one per line), 2 could not check. Of each sort of\n\
        fault a hundred are told, and how many more there are. Sealed secrets need the master key.")]
    Check(inspect::CheckOptions),
    /// Manage accounts, the customers on this server.
    #[command(subcommand, after_help = "Example:\n  haksa account list --database sqlite:haksa.db")]
    Account(manage::AccountCommand),
    /// Manage credentials: the keys that clients call with.
    #[command(
        subcommand,
        after_help = "Example:\n  haksa credential list --account 1 --database sqlite:haksa.db"
    )]
    Credential(manage::CredentialCommand),
    /// Manage people: who signs in and who teaches.
    #[command(
        subcommand,
        after_help = "Example:\n  haksa person create 이도 --account 1 --database sqlite:haksa.db"
    )]
    Person(person::PersonCommand),
    /// Show what happened to a record, newest first.
    #[command(after_help = "Example:\n  haksa history person/1 --database sqlite:haksa.db")]
    History(inspect::HistoryOptions),
    /// Take a change back.
    ///
    /// Undoing is a new change. It is refused when later changes touched the same fields.
    #[command(after_help = "Example:\n  haksa undo 2 --database sqlite:haksa.db")]
    Undo(inspect::UndoOptions),
    /// Print an OpenAPI 3.1 document: of one dialect, or of Haksa's own API.
    #[command(after_help = "Example:\n  haksa openapi kolleges")]
    Openapi {
        /// kolleges, partner, ncloud, solapi, ispring or native.
        #[arg(default_value = "native")]
        dialect: String,
    },
}

/// Which database.
#[derive(Args, Clone, Debug)]
pub struct DatabaseOptions {
    /// `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/NAME`.
    #[arg(long, env = "HAKSA_DATABASE", hide_env_values = true)]
    database: Option<String>,
    /// A configuration file.
    #[arg(long, env = "HAKSA_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The file with the master key that seals signing secrets, made with the database. By default
    /// `master.key` beside an SQLite file. Instead of a file, the variable `HAKSA_MASTER_KEY` may
    /// hold the key itself, 64 hexadecimal digits.
    #[arg(long, env = "HAKSA_MASTER_KEY_FILE", value_name = "FILE")]
    master_key_file: Option<PathBuf>,
}

impl DatabaseOptions {
    /// The configuration, with these options on top.
    fn config(&self) -> anyhow::Result<Config> {
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        if let Some(database) = &self.database {
            config.database = Some(database.clone());
        }
        if let Some(file) = &self.master_key_file {
            config.master_key_file = Some(file.clone());
        }
        Ok(config)
    }

    /// The database that these options name, as it is: for all that does not make one.
    async fn open(&self) -> anyhow::Result<Store> {
        Ok(Store::open_existing(address(&self.config()?)?).await?)
    }
}

fn address(config: &Config) -> anyhow::Result<&str> {
    config.database.as_deref().ok_or_else(|| {
        anyhow::anyhow!(
            "which database? Give --database sqlite:PATH or postgres://…, set HAKSA_DATABASE, or \
             name it in the configuration file"
        )
    })
}

/// A database that a command writes to, in the same way as a server does.
struct Desk {
    store: Store,
    pipeline: Pipeline,
    writer: WriterHandle,
}

impl Desk {
    fn start(store: Store) -> anyhow::Result<Self> {
        let (pipeline, queues) = Pipeline::new();
        let now = Arc::new(|| Clock::System.now());
        let entropy = || Box::new(OsEntropy) as Box<dyn Entropy + Send>;
        let writer = store.start_writer(Writer { queues, now, entropy, is_sweeping: false })?;
        Ok(Self { store, pipeline, writer })
    }

    /// Runs one command and waits until it is durable.
    async fn run(
        self,
        command: impl command::Command,
        envelope: Envelope,
    ) -> Result<Outcome, Error> {
        let reply = self.pipeline.run(command, envelope).await;
        drop(self.pipeline);
        self.writer.join().await;
        match reply? {
            Reply::Done(outcome, _) => Ok(outcome),
            Reply::Repeated(_) | Reply::Noted => Err(Error::internal("the command was not run")),
        }
    }
}

/// What is logged unless `HAKSA_LOG` says otherwise.
const LOG_DEFAULT: &str = "info,refinery_core=warn";

/// What is logged under these directives (`debug`, `info,haksa=trace`), and of that no more than
/// [`crate::store::LOG_LIMIT`].
///
/// # Errors
/// When `directives` are of another form.
pub fn log_filter<S>(directives: &str) -> Result<impl Filter<S> + use<S>, ParseError> {
    let (target, most) = crate::store::LOG_LIMIT;
    let limit = Targets::new().with_target(target, most).with_default(LevelFilter::TRACE);
    Ok(EnvFilter::try_new(directives)?.and(limit))
}

/// Runs the program.
pub fn main() -> ExitCode {
    let matches = with_plain_variables(Cli::command()).get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match run_to_end(cli.command) {
        Ok(code) => {
            log::end(None);
            code
        }
        Err(cause) => {
            log::end(Some(&format!("haksa: {}", describe(&cause))));
            ExitCode::from(2)
        }
    }
}

fn run_to_end(command: CliCommand) -> anyhow::Result<ExitCode> {
    log::start().context("cannot start the thread that writes the log")?;
    let directives = variable("HAKSA_LOG");
    let directives = directives.as_deref().unwrap_or(LOG_DEFAULT);
    let filter = log_filter(directives)
        .map_err(|cause| anyhow::anyhow!("HAKSA_LOG is no log filter: {cause}"))?;
    // What the subscriber has to say of itself it would say past the thread, and panic without one
    // who listens.
    let logs = tracing_subscriber::fmt::layer().log_internal_errors(false);
    let logs = logs.with_writer(|| log::Lines);
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let logs = if is_terminal { logs.boxed() } else { logs.json().boxed() };
    tracing_subscriber::registry().with(logs.with_filter(filter)).init();
    crate::sabotage::announce();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("haksa-serve")
        .enable_all()
        .build()?;
    runtime.block_on(run(command))
}

/// An environment variable, without blanks and line ends around it; an empty one is as good as none.
fn variable(name: impl AsRef<OsStr>) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is where settings are read")]
    let value = std::env::var(name).ok()?;
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// The same command line with variables read like [`variable`]: to it one that is set to nothing would be a
/// value, and the line end that a file of variables left there a part of it.
fn with_plain_variables(command: clap::Command) -> clap::Command {
    let plain = |arg: clap::Arg| {
        let Some(name) = arg.get_env().map(OsStr::to_owned) else { return arg };
        #[expect(clippy::disallowed_methods, reason = "this is where settings are read")]
        let Some(Ok(given)) = std::env::var_os(&name).map(OsString::into_string) else {
            return arg;
        };
        match variable(&name) {
            Some(value) if value == given => arg,
            Some(value) => arg.env(Resettable::Reset).default_value(value).hide_default_value(true),
            None => arg.env(Resettable::Reset),
        }
    };
    command.mut_args(plain).mut_subcommands(with_plain_variables)
}

async fn run(command: CliCommand) -> anyhow::Result<ExitCode> {
    match command {
        CliCommand::Demo(options) => run::demo(options).await,
        CliCommand::Serve(options) => run::serve(*options).await,
        CliCommand::Migrate(options) => inspect::migrate(&options).await,
        CliCommand::Check(options) => inspect::check(&options).await,
        CliCommand::Account(command) => manage::account(command).await,
        CliCommand::Credential(command) => manage::credential(command).await,
        CliCommand::Person(command) => person::person(command).await,
        CliCommand::History(options) => inspect::history(options).await,
        CliCommand::Undo(options) => inspect::undo(options).await,
        CliCommand::Openapi { dialect } => openapi(&dialect),
    }
}

fn openapi(name: &str) -> anyhow::Result<ExitCode> {
    let document = crate::dialect::WIRES
        .iter()
        .find(|wire| wire.dialect.name() == name)
        .and_then(|wire| wire.openapi)
        .ok_or_else(|| anyhow::anyhow!("no dialect {name:?}; there are {}", dialects()))?;
    say(document)?;
    Ok(ExitCode::SUCCESS)
}

fn dialects() -> String {
    Dialect::ALL.map(Dialect::name).join(", ")
}

/// Prints a line for the caller. A pipe that was closed wants no more lines.
fn say(line: impl std::fmt::Display) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut output = std::io::stdout().lock();
    match writeln!(output, "{line}").and_then(|()| output.flush()) {
        Err(cause) if cause.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        said => said.context("cannot write to standard output"),
    }
}

/// An error in an operator's words. Who stands here may know what is kept from clients.
fn describe(cause: &anyhow::Error) -> String {
    match cause.downcast_ref::<Error>() {
        Some(Error::Internal(inner)) => format!("{cause:#}: {inner}"),
        Some(Error::Invalid(errors)) => {
            let errors: Vec<_> =
                errors.iter().map(|error| format!("{} {}", error.field, error.detail)).collect();
            errors.join("; ")
        }
        _ => format!("{cause:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_of_serve_is_a_variable_and_a_key_of_the_file() {
        let mut command = Cli::command();
        command.build();
        let serve = command.find_subcommand("serve").unwrap();
        let mut keys: Vec<String> =
            crate::config::KEYS.iter().map(|key| key.replace(['.', '_'], "-")).collect();
        for option in serve.get_arguments().filter_map(clap::Arg::get_long) {
            if option == "help" {
                continue;
            }
            let variable = format!("HAKSA_{}", option.replace('-', "_").to_uppercase());
            let argument = serve.get_arguments().find(|arg| arg.get_long() == Some(option));
            assert_eq!(argument.unwrap().get_env().unwrap(), variable.as_str());
            let known = keys.len();
            keys.retain(|key| key != option);
            assert_eq!(known - keys.len(), usize::from(option != "config"), "{option}");
        }
        assert_eq!(keys, [""; 0], "keys without an option");
    }
}
