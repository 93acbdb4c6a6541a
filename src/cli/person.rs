//! `haksa person`.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::manage::find_account;
use super::{DatabaseOptions, Desk, say};
use crate::app::OsEntropy;
use crate::domain::actor::Actor;
use crate::domain::command::{Command, Create, Edit, Entropy as _, Expected};
use crate::domain::patch::Patch;
use crate::domain::people::known::{Introduce, KnownBy};
use crate::domain::people::person::{Person, PersonEdit};
use crate::domain::record::Key;
use crate::domain::teaching::partner::Partner;
use crate::pipeline::Envelope;
use crate::store::Store;
use crate::vault::{PASSWORD_SALT_BYTES, hash_password};

/// A shorter password is refused, characters.
const PASSWORD_MIN: usize = 8;

/// `haksa person …`.
#[derive(Debug, Subcommand)]
pub enum PersonCommand {
    /// Make a person and print the id; with --partner, an instructor too.
    #[command(
        after_help = "Example:\n  haksa person create 홍길동 --account 1 --email hong@example.com --database sqlite:haksa.db"
    )]
    Create {
        #[command(flatten)]
        person: NewPerson,
        #[command(flatten)]
        database: DatabaseOptions,
    },
    /// Give a person a new password, read from standard input: its first line.
    #[command(
        after_help = "Example:\n  haksa person password 1 --account 1 --database sqlite:haksa.db <password.txt"
    )]
    Password {
        /// Who.
        person: i64,
        /// Of which account.
        #[arg(long)]
        account: i64,
        #[command(flatten)]
        database: DatabaseOptions,
    },
}

/// What a person is made of.
#[derive(Args, Clone, Debug)]
pub struct NewPerson {
    /// Full name.
    name: String,
    /// Of which account.
    #[arg(long)]
    account: i64,
    /// The e-mail address, by which the person signs in and is known to all systems.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// The phone number.
    #[arg(long, value_name = "NUMBER")]
    phone: Option<String>,
    /// The login.
    #[arg(long, value_name = "NAME")]
    login: Option<String>,
    /// Partner API: the person teaches.
    #[arg(long)]
    partner: bool,
}

pub(super) async fn person(command: PersonCommand) -> anyhow::Result<ExitCode> {
    match command {
        PersonCommand::Create { person, database } => create(person, &database).await?,
        PersonCommand::Password { person, account, database } => {
            set_password(person, account, &database).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(new: NewPerson, database: &DatabaseOptions) -> anyhow::Result<()> {
    let NewPerson { name, account, email, phone, login, partner } = new;
    anyhow::ensure!(!name.trim().is_empty(), "a person needs a name");
    let store = database.open().await?;
    find_account(&store, account).await?;
    // One human is one person, whatever the systems call them.
    let email_key = email.as_deref().map(KnownBy::email);
    let login_key = login.as_deref().map(KnownBy::login);
    let known_by: Vec<KnownBy> = email_key.into_iter().chain(login_key).collect();
    for known_by in &known_by {
        let found = store.read(|facts| known_by.people(account, facts)).await?;
        if let Some(known) = found.first() {
            anyhow::bail!("{known_by} is person {}, {}", known.id(), known.record.name);
        }
    }
    let full_name = name.clone();
    let person = Person { name, email, phone, login, ..Person::default() };
    let id = run(&store, account, Introduce { person, known_by }).await?;
    say(format_args!("person {id}"))?;
    if partner {
        let person_id = id.as_int().unwrap_or_default();
        let role = "partner".to_owned();
        let partner = Partner { person_id, full_name, role, is_active: true };
        let partner = run(&store, account, Create::new(partner)).await?;
        say(format_args!("partner {partner}"))?;
    }
    Ok(())
}

async fn run(store: &Store, account_id: i64, command: impl Command) -> anyhow::Result<Key> {
    let envelope = Envelope::new(Actor::operator(account_id), "haksa person");
    let outcome = Desk::start(store.clone())?.run(command, envelope).await?;
    Ok(outcome.subject.meta.key.clone())
}

async fn set_password(id: i64, account: i64, database: &DatabaseOptions) -> anyhow::Result<()> {
    let store = database.open().await?;
    find_account(&store, account).await?;
    let found = store.read(|facts| facts.find::<Person>(account, id)).await?;
    found.with_context(|| format!("account {account} has no person {id}"))?;
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("cannot read the password")?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.chars().count() < PASSWORD_MIN {
        anyhow::bail!(
            "a password has at least {PASSWORD_MIN} characters; it is read from standard input"
        );
    }
    let mut salt = [0; PASSWORD_SALT_BYTES];
    OsEntropy.fill(&mut salt);
    let hash = hash_password(password, salt)?;
    let edit = PersonEdit { password_hash: Patch::Value(hash), ..PersonEdit::default() };
    let command = Edit::<Person> { key: Key::Int(id), edit, expected: Expected::Any };
    run(&store, account, command).await?;
    say(format_args!("person {id} has a new password"))
}
