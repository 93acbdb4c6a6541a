//! `haksa account` and `haksa credential`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::key::KeyPlace;
use super::{DatabaseOptions, Desk, address, say};
use crate::app::{Clock, OsEntropy};
use crate::dialect::{Dialect, native, ncloud, solapi};
use crate::domain::actor::Actor;
use crate::domain::command::{Create, Edit, Entropy as _, Expected};
use crate::domain::kind::Kind;
use crate::domain::patch::Patch;
use crate::domain::people::account::{Account, portal_url};
use crate::domain::people::credential::{Credential, CredentialEdit};
use crate::domain::people::person::{Person, fold};
use crate::domain::record::{Document, Key, Stored};
use crate::domain::sign_in::tenant::{CreateWithTenant, Tenant};
use crate::pipeline::Envelope;
use crate::store::{Store, Whom};
use crate::vault::{NONCE_BYTES, hash_token, random_token};

/// Records read at once.
const PAGE: i64 = 1000;

/// `haksa account …`.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// Make an account and print its id. Makes the database too where there is none.
    #[command(
        after_help = "Example:\n  haksa account create 한빛학원 --club-domain hanbit --database sqlite:haksa.db"
    )]
    Create {
        #[command(flatten)]
        account: Box<NewAccount>,
        #[command(flatten)]
        database: DatabaseOptions,
    },
    /// List accounts.
    #[command(after_help = "Example:\n  haksa account list --database sqlite:haksa.db")]
    List(DatabaseOptions),
}

/// What an account is made of.
#[derive(Args, Clone, Debug)]
pub struct NewAccount {
    /// What people call it.
    name: String,
    /// Kolleges: the club's domain.
    #[arg(long, value_name = "NAME")]
    club_domain: Option<String>,
    /// Ncloud: the account number. Makes the account's tenant too.
    #[arg(long, value_name = "NUMBER")]
    ncloud_account_no: Option<String>,
    /// Ncloud: the tenant's name in addresses; its id, unless chosen.
    #[arg(long, value_name = "NAME", requires = "ncloud_account_no")]
    ncloud_tenant_alias: Option<String>,
    /// SOLAPI: the account id, 14 digits.
    #[arg(long, value_name = "ID")]
    solapi_account_id: Option<String>,
    /// iSpring: the portal's address, e.g. `https://acme.example`.
    #[arg(long, value_name = "URL")]
    portal_url: Option<String>,
    /// iSpring: the IANA time zone of dates, e.g. Asia/Seoul.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
}

/// `haksa credential …`.
#[derive(Debug, Subcommand)]
pub enum CredentialCommand {
    /// Make a credential and print its secret, this once.
    #[command(
        after_help = "Example:\n  haksa credential create --account 1 --dialect kolleges --database sqlite:haksa.db"
    )]
    Create {
        #[command(flatten)]
        credential: Box<NewCredential>,
        #[command(flatten)]
        database: DatabaseOptions,
    },
    /// List an account's credentials, without their secrets.
    #[command(
        after_help = "Example:\n  haksa credential list --account 1 --database sqlite:haksa.db"
    )]
    List {
        /// Whose.
        #[arg(long)]
        account: i64,
        #[command(flatten)]
        database: DatabaseOptions,
    },
    /// Revoke a credential: from now on it opens nothing.
    #[command(after_help = "Example:\n  haksa credential revoke 1 --database sqlite:haksa.db")]
    Revoke {
        /// Which.
        credential: i64,
        #[command(flatten)]
        database: DatabaseOptions,
    },
}

/// What a credential is made of.
#[derive(Args, Clone, Debug)]
pub struct NewCredential {
    /// Whose.
    #[arg(long)]
    account: i64,
    /// The language it is good for.
    #[arg(long)]
    dialect: Dialect,
    /// What it is for.
    #[arg(long, default_value = "")]
    label: String,
    /// The person it acts as; partner and iSpring credentials need one.
    #[arg(long)]
    person: Option<i64>,
    /// What it permits, in the dialect's own words: for solapi OWNER, DEVELOPER or MEMBER; for
    /// ncloud a system policy (`NCP_SINGLE_SIGN_ON_MANAGER`) or an action
    /// (change/updateApplication); for native `*`, `read:*`, edit:class and the like. These three
    /// need at least one, the others take none. May be given several times.
    #[arg(long = "policy", value_name = "NAME")]
    policies: Vec<String>,
    /// An address that it may be used from; without any, it may be used from everywhere. May be
    /// given several times.
    #[arg(long = "allowed-ip", value_name = "ADDRESS")]
    allowed_ips: Vec<std::net::IpAddr>,
    /// When it ends, e.g. 2027-03-01T00:00:00+09:00.
    #[arg(long, value_name = "INSTANT")]
    expires_at: Option<Timestamp>,
}

impl clap::ValueEnum for Dialect {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}

pub(super) async fn account(command: AccountCommand) -> anyhow::Result<ExitCode> {
    match command {
        AccountCommand::Create { account, database } => create_account(*account, &database).await?,
        AccountCommand::List(database) => {
            let store = database.open().await?;
            for document in documents(&store, Kind::Account).await? {
                if document.meta.deleted_at.is_none() {
                    let stored = document.typed::<Account>()?;
                    say(format_args!("{}  {}", stored.id(), stored.record.name))?;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create_account(new: NewAccount, database: &DatabaseOptions) -> anyhow::Result<()> {
    let NewAccount {
        name,
        club_domain,
        ncloud_account_no,
        ncloud_tenant_alias,
        solapi_account_id,
        portal_url,
        time_zone,
    } = new;
    let has_tenant = ncloud_account_no.is_some();
    let account = Account {
        name,
        club_domain,
        ncloud_account_no,
        solapi_account_id,
        portal_url,
        time_zone,
        ..Account::default()
    };
    let store = Store::open_for(Whom::Operator, address(&database.config()?)?).await?;
    store.migrate().await?;
    refuse_taken(&store, &account, ncloud_tenant_alias.as_deref()).await?;
    let desk = Desk::start(store)?;
    let envelope = Envelope::new(Actor::operator(0), "haksa account");
    let outcome = if has_tenant {
        let command = CreateWithTenant { account, alias: ncloud_tenant_alias };
        desk.run(command, envelope).await?
    } else {
        desk.run(Create::new(account), envelope).await?
    };
    say(format_args!("account {}", outcome.subject.meta.key))
}

/// Refuses names that another account has. A deleted account keeps its own, because its deletion can
/// be undone.
async fn refuse_taken(store: &Store, new: &Account, alias: Option<&str>) -> anyhow::Result<()> {
    let portal = new.portal_url.as_deref().map(portal_url);
    let domain = new.club_domain.as_deref().map(fold);
    for document in documents(store, Kind::Account).await? {
        let holder = document.typed::<Account>()?;
        let Account { club_domain_key, ncloud_account_no, solapi_account_id, .. } = &*holder.record;
        for (option, wanted, held) in [
            ("--club-domain", &domain, club_domain_key),
            ("--ncloud-account-no", &new.ncloud_account_no, ncloud_account_no),
            ("--solapi-account-id", &new.solapi_account_id, solapi_account_id),
            ("--portal-url", &portal, &holder.record.portal_url),
        ] {
            if let (Some(wanted), true) = (wanted, wanted == held) {
                return Err(taken(option, wanted, holder.id(), &document));
            }
        }
    }
    let Some(alias) = alias else {
        return Ok(());
    };
    for document in documents(store, Kind::Tenant).await? {
        let tenant = document.typed::<Tenant>()?;
        if tenant.record.alias == alias {
            return Err(taken("--ncloud-tenant-alias", alias, tenant.record.owner_id, &document));
        }
    }
    Ok(())
}

fn taken(option: &str, value: &str, account_id: i64, holder: &Document) -> anyhow::Error {
    let state = if holder.meta.deleted_at.is_some() {
        format!("which was deleted; `haksa history account/{account_id}` tells when")
    } else {
        "see `haksa account list`".to_owned()
    };
    anyhow::anyhow!("{option} {value:?} is taken by account {account_id}, {state}")
}

pub(super) async fn credential(command: CredentialCommand) -> anyhow::Result<ExitCode> {
    match command {
        CredentialCommand::Create { credential, database } => {
            create_credential(*credential, &database).await?;
        }
        CredentialCommand::List { account, database } => {
            let store = database.open().await?;
            find_account(&store, account).await?;
            for document in documents(&store, Kind::Credential).await? {
                if document.meta.account_id == account && document.meta.deleted_at.is_none() {
                    let credential = document.typed::<Credential>()?;
                    let is_outdated = is_outdated(&credential, &store).await?;
                    say(line(&credential, is_outdated))?;
                }
            }
        }
        CredentialCommand::Revoke { credential, database } => revoke(credential, &database).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// True for what a password opened that its person no longer has.
async fn is_outdated(stored: &Stored<Credential>, store: &Store) -> anyhow::Result<bool> {
    let Credential { password_mark: Some(_), person_id: Some(id), .. } = &*stored.record else {
        return Ok(false);
    };
    let person = store.read(|facts| facts.find::<Person>(stored.meta.account_id, *id)).await?;
    Ok(person.is_none_or(|person| !stored.record.is_of_password(&person.record)))
}

/// A credential as it is listed.
fn line(stored: &Stored<Credential>, is_outdated: bool) -> String {
    let Credential {
        dialect,
        label,
        public_id,
        person_id,
        policies,
        allowed_ips,
        expires_at,
        revoked_at,
        ..
    } = &*stored.record;
    let now = Clock::System.now();
    let state = match (revoked_at, expires_at) {
        (Some(at), _) => format!("revoked at {at}"),
        (None, Some(end)) if !stored.record.is_live(now) => format!("expired at {end}"),
        _ if is_outdated => "ended by a new password".to_owned(),
        (None, Some(end)) => format!("live until {end}"),
        (None, None) => "live".to_owned(),
    };
    let mut columns = vec![
        stored.id().to_string(),
        dialect.name().to_owned(),
        public_id.clone().unwrap_or_else(|| "-".to_owned()),
        label.clone(),
        state,
    ];
    columns.extend(person_id.map(|id| format!("as person {id}")));
    if !policies.is_empty() {
        columns.push(format!("may {}", policies.join(", ")));
    }
    if !allowed_ips.is_empty() {
        columns.push(format!("from {}", allowed_ips.join(", ")));
    }
    columns.join("  ")
}

async fn create_credential(new: NewCredential, options: &DatabaseOptions) -> anyhow::Result<()> {
    let NewCredential { account, dialect, label, person, policies, allowed_ips, expires_at } = new;
    check_policies(dialect, &policies)?;
    let mut credential = Credential::new(dialect, label);
    credential.person_id = person;
    credential.policies = policies;
    credential.allowed_ips = allowed_ips.iter().map(ToString::to_string).collect();
    credential.expires_at = expires_at;
    if credential.needs_person() && person.is_none() {
        anyhow::bail!("{} credentials act as a person: name one with --person", dialect.name());
    }
    let store = options.open().await?;
    find_account(&store, account).await?;
    if let Some(id) = person {
        let found = store.read(|facts| facts.find::<Person>(account, id)).await?;
        found.with_context(|| format!("account {account} has no person {id}"))?;
    }

    let secret = random_token(super::key::fill);
    credential.public_id = match dialect {
        Dialect::Ncloud | Dialect::Solapi => {
            Some(random_token(super::key::fill).into_inner().chars().take(20).collect())
        }
        Dialect::Ispring => Some(OsEntropy.uuid()),
        Dialect::Kolleges | Dialect::Partner | Dialect::Native => None,
    };
    let public_id = credential.public_id.clone();
    if let (Dialect::Ncloud | Dialect::Solapi, Some(public_id)) = (dialect, &public_id) {
        let key = KeyPlace::find(&options.config()?).context(super::key::MISSING)?;
        let vault = key.open(&store).await?;
        let mut nonce = [0; NONCE_BYTES];
        OsEntropy.fill(&mut nonce);
        credential.secret_sealed = Some(vault.seal(public_id, secret.expose(), nonce)?);
    } else {
        credential.secret_hash = Some(hex::encode(hash_token(secret.expose())));
    }

    let envelope = Envelope::new(Actor::operator(account), "haksa credential");
    let outcome = Desk::start(store)?.run(Create::new(credential), envelope).await?;
    let id = &outcome.subject.meta.key;
    let public_id = public_id.map(|id| format!("id {id}\n")).unwrap_or_default();
    say(format_args!("credential {id}\n{public_id}secret {}", secret.expose())).with_context(|| {
        format!(
            "credential {id} was made, but its secret could not be told and is lost; take it back \
             with `haksa credential revoke {id}`"
        )
    })
}

/// Refuses policies that mean nothing to the dialect, and credentials that would permit nothing.
fn check_policies(dialect: Dialect, policies: &[String]) -> anyhow::Result<()> {
    let (known, is_known): (String, &dyn Fn(&str) -> bool) = match dialect {
        Dialect::Ncloud => (
            ncloud::POLICIES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
            &|name| ncloud::POLICIES.iter().any(|(known, _)| *known == name),
        ),
        Dialect::Solapi => (solapi::ROLES.join(", "), &|name| solapi::ROLES.contains(&name)),
        Dialect::Native => (
            "* and read, create, edit, delete or * with a kind or *, such as read:* and \
             edit:achievement"
                .to_owned(),
            &native::is_right,
        ),
        Dialect::Kolleges | Dialect::Partner | Dialect::Ispring => {
            anyhow::ensure!(
                policies.is_empty(),
                "{} credentials take no --policy: they may do what {}",
                dialect.name(),
                match dialect {
                    Dialect::Kolleges => "their club may",
                    _ => "their person may",
                }
            );
            return Ok(());
        }
    };
    let name = dialect.name();
    if let Some(unknown) = policies.iter().find(|policy| !is_known(policy)) {
        anyhow::bail!("{name} has no policy {unknown:?}; there are {known}");
    }
    anyhow::ensure!(
        !policies.is_empty(),
        "{name} credentials without a --policy may do nothing; there are {known}"
    );
    Ok(())
}

async fn revoke(id: i64, database: &DatabaseOptions) -> anyhow::Result<()> {
    let store = database.open().await?;
    let key = Key::Int(id);
    let known = store.read(|facts| facts.document(Kind::Credential, &key)).await?;
    let document = known
        .filter(|document| document.meta.deleted_at.is_none())
        .with_context(|| format!("there is no credential {id}"))?;
    let edit = CredentialEdit {
        revoked_at: Patch::Value(Clock::System.now()),
        ..CredentialEdit::default()
    };
    let command = Edit::<Credential> { key, edit, expected: Expected::Any };
    let envelope = Envelope::new(Actor::operator(document.meta.account_id), "haksa credential");
    let outcome = Desk::start(store)?.run(command, envelope).await?;
    if outcome.changes.is_empty() {
        let at = outcome.subject.typed::<Credential>()?.record.revoked_at.unwrap_or_default();
        return say(format_args!("credential {id} was already revoked, at {at}"));
    }
    say(format_args!("credential {id} opens nothing any more"))
}

/// The account, which has to be there.
pub(super) async fn find_account(store: &Store, id: i64) -> anyhow::Result<Stored<Account>> {
    let found = store.read(|facts| facts.find::<Account>(id, id)).await?;
    found.with_context(|| format!("there is no account {id}; `haksa account list` lists them"))
}

/// Every record of a kind, deleted ones included.
async fn documents(store: &Store, kind: Kind) -> anyhow::Result<Vec<Document>> {
    let mut all: Vec<Document> = Vec::new();
    loop {
        let after = all.last().map(|document| document.meta.key.clone());
        let page = store.documents_after(kind, after.as_ref(), PAGE).await?;
        let page = page.into_iter().collect::<Result<Vec<_>, _>>()?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}
