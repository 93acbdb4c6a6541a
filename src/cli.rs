//! The command line.

mod inspect;
mod manage;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::app::{App, Clock, Running};
use crate::config::Config;
use crate::dialect::Dialect;
use crate::store::Store;
use crate::vault::{MasterKey, Vault};

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
    after_help = "Logs go to standard error, as JSON unless that is a terminal. HAKSA_LOG chooses \
                  what is logged, e.g. HAKSA_LOG=warn or HAKSA_LOG=info,haksa=debug."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a demonstration account and print commands to paste.
    #[command(after_help = "Example:\n  haksa demo --listen 127.0.0.1:8080")]
    Demo(run::DemoOptions),
    /// Serve.
    #[command(
        after_help = "Example:\n  haksa serve --database sqlite:/var/lib/haksa/haksa.db --listen 0.0.0.0:8080\n\n\
        Every option is also a key of the configuration file and an environment variable. The\n\
        database is made and brought up to date at the start."
    )]
    Serve(run::ServeOptions),
    /// Bring a database's tables up to date.
    Migrate(DatabaseOptions),
    /// Check a database: history agrees with every record, references hold, rows can be read.
    #[command(
        after_help = "Exit codes: 0 all is well, 1 faults were found (one per line), 2 could not check."
    )]
    Check(DatabaseOptions),
    /// Manage accounts, the customers on this server.
    #[command(subcommand)]
    Account(manage::AccountCommand),
    /// Manage credentials: the keys that clients call with.
    #[command(subcommand)]
    Credential(manage::CredentialCommand),
    /// Show what happened to a record, newest first.
    #[command(after_help = "Example:\n  haksa history achievement/1539 --database sqlite:haksa.db")]
    History(inspect::HistoryOptions),
    /// Take a change back.
    ///
    /// Undoing is a new change. It is refused when later changes touched the same fields.
    #[command(after_help = "Example:\n  haksa undo 42 --database sqlite:haksa.db")]
    Undo(inspect::UndoOptions),
    /// Print an OpenAPI 3.1 document: of one dialect, or of Haksa's own API.
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
    /// The file with the master key that seals signing secrets; made when it does not exist. By
    /// default `master.key` beside an SQLite file.
    #[arg(long, env = "HAKSA_MASTER_KEY_FILE", value_name = "FILE")]
    master_key_file: Option<PathBuf>,
    /// The master key itself, 64 hexadecimal digits; instead of a file.
    #[arg(long, env = "HAKSA_MASTER_KEY", hide_env_values = true, hide = true)]
    master_key: Option<String>,
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

    /// Opens the database that the configuration names.
    async fn open(config: &Config) -> anyhow::Result<Store> {
        let address = config.database.as_deref().ok_or_else(|| {
            anyhow::anyhow!(
                "which database? Give --database sqlite:PATH or postgres://…, set HAKSA_DATABASE, \
                 or name it in the configuration file"
            )
        })?;
        Ok(Store::open(address).await?)
    }

    /// The vault, with the key from wherever it is kept.
    fn vault(&self, config: &Config) -> anyhow::Result<Vault> {
        let beside = config
            .database
            .as_deref()
            .and_then(|address| address.strip_prefix("sqlite:"))
            .map(|path| PathBuf::from(path).with_file_name("master.key"));
        let key = match (config.master_key_file.clone().or(beside), &self.master_key) {
            (Some(file), key) => MasterKey::find_or_create(key.as_deref(), &file, run::fill)?,
            (None, Some(key)) => MasterKey::parse(key)?,
            (None, None) => anyhow::bail!(
                "where is the master key? With PostgreSQL give --master-key-file FILE or set \
                 HAKSA_MASTER_KEY, the same on every node"
            ),
        };
        Ok(Vault::new(&key))
    }

    /// Opens everything, for a command that writes.
    async fn start(&self) -> anyhow::Result<(App, Running)> {
        let config = self.config()?;
        let store = Self::open(&config).await?;
        store.migrate().await?;
        let vault = self.vault(&config)?;
        Ok(App::start(store, vault, Clock::System, config)?)
    }
}

/// What is logged unless `HAKSA_LOG` says otherwise.
const LOG_DEFAULT: &str = "info,refinery_core=warn";

/// What is logged under these directives (`debug`, `info,haksa=trace`), within
/// [`crate::store::LOG_LIMITS`].
///
/// # Errors
/// When `directives` are of another form.
pub fn log_filter(directives: &str) -> Result<EnvFilter, ParseError> {
    let mut filter = EnvFilter::try_new(directives)?;
    for limit in crate::store::LOG_LIMITS {
        filter = filter.add_directive(limit.parse()?);
    }
    Ok(filter)
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    #[expect(clippy::disallowed_methods, reason = "logs begin before the options are read")]
    let directives = std::env::var("HAKSA_LOG").unwrap_or_default();
    let directives = if directives.is_empty() { LOG_DEFAULT } else { &directives };
    let filter = match log_filter(directives) {
        Ok(filter) => filter,
        Err(cause) => return fail(&anyhow::anyhow!("HAKSA_LOG is no log filter: {cause}")),
    };
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        logs.init();
    } else {
        logs.json().init();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => return fail(&cause.into()),
    };
    match runtime.block_on(run(cli.command)) {
        Ok(code) => code,
        Err(cause) => fail(&cause),
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Demo(options) => run::demo(options).await,
        Command::Serve(options) => run::serve(options).await,
        Command::Migrate(options) => inspect::migrate(&options).await,
        Command::Check(options) => inspect::check(&options).await,
        Command::Account(command) => manage::account(command).await,
        Command::Credential(command) => manage::credential(command).await,
        Command::History(options) => inspect::history(options).await,
        Command::Undo(options) => inspect::undo(options).await,
        Command::Openapi { dialect } => openapi(&dialect),
    }
}

fn openapi(name: &str) -> anyhow::Result<ExitCode> {
    let wire = crate::dialect::WIRES
        .iter()
        .find(|wire| wire.dialect.name() == name)
        .ok_or_else(|| anyhow::anyhow!("no dialect {name:?}; there are {}", dialects()))?;
    say(wire.openapi);
    Ok(ExitCode::SUCCESS)
}

fn dialects() -> String {
    Dialect::ALL.map(Dialect::name).join(", ")
}

/// Prints a line for the caller. A pipe that was closed wants no more lines.
fn say(line: impl std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

fn fail(cause: &anyhow::Error) -> ExitCode {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "haksa: {cause:#}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
