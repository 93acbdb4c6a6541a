//! `haksa demo` and `haksa serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpSocket};

use super::key::KeyPlace;
use super::{DatabaseOptions, address, say};
use crate::app::{App, Clock, Running};
use crate::config::{Config, PartnerRules, UnknownFields};
use crate::delivery::worker::{Pace, Worker};
use crate::delivery::{self, Sender};
use crate::demo;
use crate::domain::delivery::outbox::Outbox;
use crate::http::Patience;
use crate::memory;
use crate::store::{Schema, Store, sqlite_path};
use crate::vault::Secret;

const LISTEN: &str = "127.0.0.1:8080";
/// How many connections may wait to be taken: as many as may be open. Of a crowd that comes at once,
/// those beyond it are lost and come again only after seconds.
const BACKLOG: u32 = 4096;
/// How long a writer may take to end after something else has.
const JOIN_WITHIN: Duration = Duration::from_secs(5);

/// Options of `haksa demo`.
#[derive(Args, Debug)]
pub struct DemoOptions {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "HAKSA_LISTEN", default_value = LISTEN)]
    listen: String,
    /// A folder for the database, kept afterwards. By default a temporary one.
    #[arg(long, env = "HAKSA_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Another database than `haksa.db` in that folder: `sqlite:PATH` or `postgres://…`. Only by
    /// option: `HAKSA_DATABASE` names the one that is served in earnest.
    #[arg(long)]
    database: Option<String>,
    /// Print one line of JSON for programs instead.
    #[arg(long)]
    json: bool,
    /// Freeze the clock at an instant, e.g. 2026-04-23T09:15:30Z.
    #[arg(long, env = "HAKSA_CLOCK", value_name = "INSTANT")]
    clock: Option<Timestamp>,
}

/// Options of `haksa serve`.
#[derive(Args, Debug)]
pub struct ServeOptions {
    #[command(flatten)]
    database: DatabaseOptions,
    /// Where to listen [default: 127.0.0.1:8080].
    #[arg(long, env = "HAKSA_LISTEN")]
    listen: Option<String>,
    /// Where clients reach the server, e.g. `https://haksa.example`: what addresses in answers begin
    /// with.
    #[arg(long, env = "HAKSA_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,
    /// Kolleges: what to do with body keys that a route does not know.
    #[arg(long, env = "HAKSA_KOLLEGES_UNKNOWN_FIELDS", value_enum)]
    kolleges_unknown_fields: Option<UnknownFields>,
    /// Partner API: which rules the edit of a class keeps to.
    #[arg(long, env = "HAKSA_PARTNER_RULES", value_enum)]
    partner_rules: Option<PartnerRules>,
    /// Partner API: the account whose courses and models anybody may list, without signing in.
    #[arg(long, env = "HAKSA_PARTNER_PUBLIC_ACCOUNT", value_name = "ID")]
    partner_public_account: Option<i64>,
    /// SOLAPI: accept HMAC-MD5 signatures too.
    #[arg(
        long,
        env = "HAKSA_SOLAPI_HMAC_MD5",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    solapi_hmac_md5: Option<bool>,
    /// What one account may write for ever, MiB of history and pictures a second; 4, if absent.
    #[arg(long, env = "HAKSA_LIMITS_ACCOUNT_WRITE_MIB_S", value_name = "MIB")]
    limits_account_write_mib_s: Option<u32>,
    /// The mail server that certificates are announced through,
    /// `smtp://[USER:PASSWORD@]HOST[:PORT][?tls=required]` or `smtps://…`. Without one, e-mail waits.
    #[arg(long, env = "HAKSA_MAIL_URL", hide_env_values = true, value_name = "URL")]
    mail_url: Option<String>,
    /// Who sends e-mail, `ADDRESS` or `NAME <ADDRESS>`.
    #[arg(long, env = "HAKSA_MAIL_FROM", value_name = "MAILBOX")]
    mail_from: Option<String>,
    /// A file with the words of an e-mail.
    #[arg(long, env = "HAKSA_MAIL_TEMPLATE", value_name = "FILE")]
    mail_template: Option<PathBuf>,
    /// The gateway that text messages go through, in SOLAPI's language, e.g.
    /// `https://api.solapi.com`. Without one, text messages wait.
    #[arg(long, env = "HAKSA_SMS_URL", value_name = "URL")]
    sms_url: Option<String>,
    /// The gateway's API key.
    #[arg(long, env = "HAKSA_SMS_API_KEY", hide_env_values = true, value_name = "KEY")]
    sms_api_key: Option<String>,
    /// The key's secret; better in the file or the variable than here, where others can see it.
    #[arg(long, env = "HAKSA_SMS_API_SECRET", hide_env_values = true, value_name = "SECRET")]
    sms_api_secret: Option<String>,
    /// The phone number that sends, as registered with the gateway.
    #[arg(long, env = "HAKSA_SMS_FROM", value_name = "NUMBER")]
    sms_from: Option<String>,
    /// A file with the words of a text message.
    #[arg(long, env = "HAKSA_SMS_TEMPLATE", value_name = "FILE")]
    sms_template: Option<PathBuf>,
    /// Connections at the same time [default: 4096]; fewer, where `ulimit -n` has no room for as many.
    #[arg(long, env = "HAKSA_LIMITS_CONNECTIONS", value_name = "COUNT")]
    limits_connections: Option<usize>,
    /// Memory that the server keeps to, MiB, 256 at the least [default: 512]: bodies, answers and
    /// pictures have shares of it.
    #[arg(long, env = "HAKSA_LIMITS_MEMORY_MIB", value_name = "MIB")]
    limits_memory_mib: Option<usize>,
}

impl ServeOptions {
    /// The configuration, with these options on top.
    fn config(self) -> anyhow::Result<Config> {
        let mut config = self.database.config()?;
        config.listen = self.listen.or(config.listen);
        let public_url = self.public_url.or(config.public_url);
        config.public_url = public_url.as_deref().map(base_url).transpose()?;
        if let Some(unknown_fields) = self.kolleges_unknown_fields {
            config.kolleges.unknown_fields = unknown_fields;
        }
        if let Some(rules) = self.partner_rules {
            config.partner.rules = rules;
        }
        config.partner.public_account =
            self.partner_public_account.or(config.partner.public_account);
        if let Some(hmac_md5) = self.solapi_hmac_md5 {
            config.solapi.hmac_md5 = hmac_md5;
        }
        if let Some(mib_s) = self.limits_account_write_mib_s {
            config.limits.account_write_mib_s = mib_s;
        }
        let Config { mail, sms, .. } = &mut config;
        mail.url = self.mail_url.map(Secret::new).or(mail.url.take());
        mail.from = self.mail_from.or(mail.from.take());
        mail.template = self.mail_template.or(mail.template.take());
        sms.url = self.sms_url.or(sms.url.take());
        sms.api_key = self.sms_api_key.or(sms.api_key.take());
        sms.api_secret = self.sms_api_secret.map(Secret::new).or(sms.api_secret.take());
        sms.from = self.sms_from.or(sms.from.take());
        sms.template = self.sms_template.or(sms.template.take());
        let limits = &mut config.limits;
        limits.connections = self.limits_connections.or(limits.connections);
        limits.memory_mib = self.limits_memory_mib.or(limits.memory_mib);
        let memory_mib = limits.memory_mib.unwrap_or(memory::MIB);
        anyhow::ensure!(
            memory_mib >= memory::MIB_MIN,
            "limits.memory_mib is {} at the least",
            memory::MIB_MIN
        );
        anyhow::ensure!(limits.connections != Some(0), "limits.connections is 1 at the least");
        Ok(config)
    }
}

pub(super) async fn demo(options: DemoOptions) -> anyhow::Result<ExitCode> {
    check_clock()?;
    let place = DemoPlace::choose(options.data, options.database)?;
    let clock = options.clock.map_or(Clock::System, Clock::frozen);
    let store = Store::open(&place.database).await?;
    let _claim = store.claim()?;
    if store.schema().await? != Schema::Empty
        && let Some(account) = demo::stranger(&store).await?
    {
        anyhow::bail!(
            "{account} is in this database, which is not a demonstration's: `haksa demo` would put \
             accounts into it whose keys everybody knows. Run it with a folder of its own (--data \
             DIR) or with another --database; to serve this one, use `haksa serve`"
        );
    }
    store.migrate().await?;
    let vault = KeyPlace::File(place.key_file.clone()).open(&store).await?;
    let listener = listen(&options.listen).await?;
    let base_url = format!("http://{}", listener.local_addr()?);
    let config = Config { public_url: Some(base_url.clone()), ..demo::config() };
    let (app, running) = App::start(store, vault, clock, Outbox::default(), config)?;
    demo::load(&app).await.context("cannot load the demo account")?;
    let signals = signals()?;
    if options.json {
        say(demo::summary(&base_url))?;
    } else {
        say(format_args!("Haksa serves a demonstration account at {base_url}\n"))?;
        for (name, command) in demo::commands_at(&base_url, options.clock) {
            say(format_args!("# {name}\n{command}\n"))?;
        }
        say(format_args!("API documentation: {base_url}/docs/\nStop with Ctrl-C."))?;
    }
    run(app, running, Vec::new(), listener, signals).await
}

/// Where a demonstration keeps its database and its master key.
struct DemoPlace {
    database: String,
    key_file: PathBuf,
    /// Dropped, and so removed, when the server ends.
    _temporary: Option<tempfile::TempDir>,
}

impl DemoPlace {
    fn choose(data: Option<PathBuf>, database: Option<String>) -> anyhow::Result<Self> {
        let mut temporary = None;
        let file = database.as_deref().map(sqlite_path).transpose()?;
        let folder = match (data, file) {
            (Some(folder), _) => {
                std::fs::create_dir_all(&folder)
                    .with_context(|| format!("cannot make {}", folder.display()))?;
                folder
            }
            (None, None) => {
                let made = tempfile::tempdir().context("cannot make a temporary folder")?;
                temporary.insert(made).path().to_owned()
            }
            // A key that went with a temporary folder would leave its database behind.
            (None, Some(None)) => anyhow::bail!(
                "--database postgres://… needs --data DIR too: a folder where the master key is kept"
            ),
            (None, Some(Some(path))) => path.parent().map(PathBuf::from).unwrap_or_default(),
        };
        let database =
            database.unwrap_or_else(|| format!("sqlite:{}", folder.join("haksa.db").display()));
        let key_file = folder.join("master.key");
        Ok(Self { database, key_file, _temporary: temporary })
    }
}

pub(super) async fn serve(options: ServeOptions) -> anyhow::Result<ExitCode> {
    check_clock()?;
    let config = options.config()?;
    let senders = delivery::senders(&config)?;
    let outbox = delivery::outbox(&config)?;
    let store = Store::open(address(&config)?).await?;
    let _claim = store.claim()?;
    for name in store.migrate().await? {
        tracing::info!(migration = %name, "applied");
    }
    let key = KeyPlace::find(&config).context(super::key::MISSING)?;
    let vault = key.open(&store).await?;
    let listener = listen(config.listen.as_deref().unwrap_or(LISTEN)).await?;
    let signals = signals()?;
    tracing::info!(address = %listener.local_addr()?, "serving");
    let (app, running) = App::start(store, vault, Clock::System, outbox, config)?;
    run(app, running, senders, listener, signals).await
}

/// An address that paths can be put behind.
fn base_url(given: &str) -> anyhow::Result<String> {
    let is_base = url::Url::parse(given).is_ok_and(|url| {
        ["http", "https"].contains(&url.scheme())
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    });
    anyhow::ensure!(is_base, "public_url is an address like https://haksa.example");
    Ok(given.trim_end_matches('/').to_owned())
}

/// HTTP's dates begin in 1970: hyper panics at an earlier one, on each connection.
fn check_clock() -> anyhow::Result<()> {
    let now = Clock::System.now();
    anyhow::ensure!(
        now >= Timestamp::UNIX_EPOCH,
        "this machine's clock says {now}, which is before 1970: set it, then start again"
    );
    Ok(())
}

async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    let place = || format!("cannot listen on {address}");
    let mut refused = anyhow::anyhow!("the name has no address");
    for address in tokio::net::lookup_host(address).await.with_context(place)? {
        match listen_at(address) {
            Ok(listener) => return Ok(listener),
            Err(cause) => refused = cause.into(),
        }
    }
    Err(refused.context(place()))
}

fn listen_at(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until a signal or a fatal fault, then lets the writer finish.
async fn run(
    app: App,
    running: Running,
    senders: Vec<Sender>,
    listener: TcpListener,
    signals: impl Future<Output = ()>,
) -> anyhow::Result<ExitCode> {
    let Running { writer, alarm } = running;
    let worker = Worker::start(&app, senders, Pace::default());
    let mut fault = None;
    let stop = async {
        tokio::select! {
            () = signals => {}
            cause = alarm.rung() => fault = Some(cause),
        }
    };
    let served = crate::http::serve(listener, app, Patience::default(), stop).await;
    worker.stop().await;
    served?;
    match fault {
        None => {
            writer.join().await;
            Ok(ExitCode::SUCCESS)
        }
        Some(cause) => {
            // What is left of it may wait for what has ended.
            let _ = tokio::time::timeout(JOIN_WITHIN, writer.join()).await;
            anyhow::bail!("the server stopped: {cause}; everything acknowledged is on disk")
        }
    }
}

/// Resolves when the program is told to stop. From the call on, a signal no longer kills it.
fn signals() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
