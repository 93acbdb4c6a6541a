//! `haksa account` and `haksa credential`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Subcommand;
use jiff::Timestamp;

use super::{DatabaseOptions, say};
use crate::app::{App, OsEntropy};
use crate::dialect::Dialect;
use crate::domain::actor::Actor;
use crate::domain::command::{Command, Create, Edit, Entropy as _, Expected};
use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::people::account::Account;
use crate::domain::people::credential::{Credential, CredentialEdit};
use crate::domain::record::Key;
use crate::pipeline::{Envelope, Outcome, Reply};
use crate::vault::{NONCE_BYTES, hash_token, random_token};

/// `haksa account …`.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Make an account and print its id.
    Create {
        /// What people call it.
        name: String,
        /// Kolleges: the club's domain.
        #[arg(long)]
        club_domain: Option<String>,
        /// Ncloud: the account number.
        #[arg(long)]
        ncloud_account_no: Option<String>,
        /// SOLAPI: the account id.
        #[arg(long)]
        solapi_account_id: Option<String>,
        /// iSpring: the portal's address.
        #[arg(long)]
        portal_url: Option<String>,
        /// iSpring: the IANA time zone of dates.
        #[arg(long)]
        time_zone: Option<String>,
        #[command(flatten)]
        database: DatabaseOptions,
    },
    /// List accounts.
    List(DatabaseOptions),
}

/// `haksa credential …`.
#[derive(Debug, Subcommand)]
pub enum CredentialCommand {
    /// Make a credential and print its secret, this once.
    Create {
        /// Whose.
        #[arg(long)]
        account: i64,
        /// The language it is good for: kolleges, partner, ncloud, solapi, ispring or native.
        #[arg(long)]
        dialect: DialectName,
        /// What it is for.
        #[arg(long, default_value = "")]
        label: String,
        /// The person it acts as; partner and iSpring credentials need one.
        #[arg(long)]
        person: Option<i64>,
        /// What it permits, in the dialect's own words (native: `*`, `read:*`, `edit:class` …).
        /// May be given several times.
        #[arg(long = "policy", value_name = "NAME")]
        policies: Vec<String>,
        /// An address that it may be used from; without any, it may be used from everywhere. May be
        /// given several times.
        #[arg(long = "allowed-ip", value_name = "ADDRESS")]
        allowed_ips: Vec<std::net::IpAddr>,
        /// When it ends.
        #[arg(long, value_name = "INSTANT")]
        expires_at: Option<Timestamp>,
        #[command(flatten)]
        database: DatabaseOptions,
    },
    /// List an account's credentials, without their secrets.
    List {
        /// Whose.
        #[arg(long)]
        account: i64,
        #[command(flatten)]
        database: DatabaseOptions,
    },
    /// Revoke a credential: from now on it opens nothing.
    Revoke {
        /// Which.
        credential: i64,
        #[command(flatten)]
        database: DatabaseOptions,
    },
}

/// A dialect's name on the command line.
#[derive(Clone, Copy, Debug)]
pub struct DialectName(Dialect);

impl clap::ValueEnum for DialectName {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [DialectName; 6] = [
            DialectName(Dialect::Kolleges),
            DialectName(Dialect::Partner),
            DialectName(Dialect::Ncloud),
            DialectName(Dialect::Solapi),
            DialectName(Dialect::Ispring),
            DialectName(Dialect::Native),
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.name()))
    }
}

pub(super) async fn account(command: AccountCommand) -> anyhow::Result<ExitCode> {
    match command {
        AccountCommand::Create {
            name,
            club_domain,
            ncloud_account_no,
            solapi_account_id,
            portal_url,
            time_zone,
            database,
        } => {
            if let Some(zone) = &time_zone {
                jiff::tz::TimeZone::get(zone).with_context(|| format!("no time zone {zone:?}"))?;
            }
            let account = Account {
                name,
                club_domain,
                ncloud_account_no,
                solapi_account_id,
                portal_url,
                time_zone,
                ..Account::default()
            };
            let outcome = run(&database, 0, |_| Ok(Create::new(account))).await?;
            say(format_args!("account {}", outcome.subject.meta.key));
        }
        AccountCommand::List(database) => {
            let store = DatabaseOptions::open(&database.config()?).await?;
            let mut after = None;
            loop {
                let page = store.documents_after(Kind::Account, after.as_ref(), 1000).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.meta.key.clone());
                for account in page {
                    let stored = account.typed::<Account>()?;
                    say(format_args!("{}  {}", stored.id(), stored.record.name));
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn credential(command: CredentialCommand) -> anyhow::Result<ExitCode> {
    match command {
        CredentialCommand::Create {
            account,
            dialect: DialectName(dialect),
            label,
            person,
            policies,
            allowed_ips,
            expires_at,
            database,
        } => {
            if dialect == Dialect::Native
                && let Some(name) = policies.iter().find(|n| !crate::dialect::native::is_right(n))
            {
                anyhow::bail!("no right {name:?}; try *, read:*, edit:achievement");
            }
            let secret = random_token(super::run::fill);
            let mut credential = Credential::new(dialect, label);
            credential.person_id = person;
            credential.policies = policies;
            credential.allowed_ips = allowed_ips.iter().map(ToString::to_string).collect();
            credential.expires_at = expires_at;
            let public_id = match dialect {
                Dialect::Ncloud | Dialect::Solapi | Dialect::Ispring => {
                    Some(random_token(super::run::fill).into_inner().chars().take(20).collect())
                }
                Dialect::Kolleges | Dialect::Partner | Dialect::Native => None,
            };
            let is_signing = matches!(dialect, Dialect::Ncloud | Dialect::Solapi);
            if !is_signing {
                credential.secret_hash = Some(hex::encode(hash_token(secret.expose())));
            }
            credential.public_id.clone_from(&public_id);
            let outcome = run(&database, account, |app| {
                if let (true, Some(public_id)) = (is_signing, &public_id) {
                    let mut nonce = [0; NONCE_BYTES];
                    OsEntropy.fill(&mut nonce);
                    let sealed = app.vault.seal(public_id, secret.expose(), nonce)?;
                    credential.secret_sealed = Some(sealed);
                }
                Ok(Create::new(credential))
            })
            .await?;
            say(format_args!("credential {}", outcome.subject.meta.key));
            if let Some(public_id) = public_id {
                say(format_args!("id {public_id}"));
            }
            say(format_args!("secret {}", secret.expose()));
        }
        CredentialCommand::List { account, database } => {
            let store = DatabaseOptions::open(&database.config()?).await?;
            let mut after = None;
            loop {
                let page = store.documents_after(Kind::Credential, after.as_ref(), 1000).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.meta.key.clone());
                for document in page.iter().filter(|document| document.meta.account_id == account) {
                    let stored = document.typed::<Credential>()?;
                    let Credential { dialect, label, public_id, revoked_at, .. } = &*stored.record;
                    say(format_args!(
                        "{}  {}  {}  {label}  {}",
                        stored.id(),
                        dialect.name(),
                        public_id.as_deref().unwrap_or("-"),
                        revoked_at
                            .map_or_else(|| "live".to_owned(), |at| format!("revoked at {at}"))
                    ));
                }
            }
        }
        CredentialCommand::Revoke { credential, database } => {
            let (app, running) = database.start().await?;
            let key = Key::Int(credential);
            let known = app.store.read(|facts| facts.document(Kind::Credential, &key)).await?;
            let document = known.with_context(|| format!("there is no credential {credential}"))?;
            let edit = CredentialEdit {
                revoked_at: Patch::Value(app.clock.now()),
                ..CredentialEdit::default()
            };
            let command = Edit::<Credential> { key, edit, expected: Expected::Any };
            let envelope =
                Envelope::new(Actor::operator(document.meta.account_id), "haksa credential");
            let revoked = app.pipeline.run(command, envelope).await;
            drop(app);
            running.writer.join().await;
            revoked?;
            say(format_args!("credential {credential} opens nothing any more"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs one command against a database and waits until it is durable.
async fn run<C: Command>(
    database: &DatabaseOptions,
    account_id: i64,
    command: impl FnOnce(&App) -> anyhow::Result<C>,
) -> anyhow::Result<Outcome> {
    let (app, running) = database.start().await?;
    let command = command(&app)?;
    let envelope = Envelope::new(Actor::operator(account_id), "haksa");
    let reply = app.pipeline.run(command, envelope).await;
    drop(app);
    running.writer.join().await;
    match reply? {
        Reply::Done(outcome, _) => Ok(outcome),
        Reply::Repeated(_) | Reply::Noted => anyhow::bail!("the command was not run"),
    }
}
