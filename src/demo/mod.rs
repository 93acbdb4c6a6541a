//! The demo account: one of everything, fixed, so that documents, tests and clients can name it.

mod ispring;
mod kolleges;
mod ncloud;
mod partner;
mod solapi;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::app::{App, OsEntropy};
use crate::config::Config;
use crate::dialect::Dialect;
use crate::domain::actor::Actor;
use crate::domain::command::{Create, Entropy as _};
use crate::domain::error::Error;
use crate::domain::kind::Kind;
use crate::domain::people::account::{Account, CustomData};
use crate::domain::people::credential::Credential;
use crate::domain::record::{Key, Record};
use crate::pipeline::Envelope;
use crate::store::Store;
use crate::vault::{NONCE_BYTES, hash_token};

/// The demo account's id.
pub const ACCOUNT: i64 = 3;
/// The id of another account, whose records the demo account must never see.
pub const OTHER_ACCOUNT: i64 = 4;
/// The native API's key.
const NATIVE_KEY: &str = "demo-admin-key";
const NATIVE_CREDENTIAL: i64 = 91;

/// Puts records into a database, passing over those that are there.
pub struct Loader<'a> {
    app: &'a App,
}

impl Loader<'_> {
    /// Makes a record, now.
    ///
    /// # Errors
    /// The pipeline's refusal.
    pub async fn create<R: Record>(
        &self,
        account_id: i64,
        key: impl Into<Key>,
        record: R,
    ) -> Result<(), Error> {
        self.create_at(account_id, key, record, None).await
    }

    /// Makes a record as if at `created_at`.
    ///
    /// # Errors
    /// The pipeline's refusal.
    pub async fn create_at<R: Record>(
        &self,
        account_id: i64,
        key: impl Into<Key>,
        record: R,
        created_at: Option<Timestamp>,
    ) -> Result<(), Error> {
        let key = key.into();
        let known = self.app.store.read(|facts| facts.document(R::KIND, &key)).await?;
        if known.is_some() {
            return Ok(());
        }
        let command = Create { key: Some(key), created_at, record };
        let envelope = Envelope::new(Actor::operator(account_id), "demo");
        self.app.pipeline.run(command, envelope).await.map(|_| ())
    }

    /// Makes a credential whose bearer key is `key`.
    ///
    /// # Errors
    /// The pipeline's refusal.
    pub async fn bearer(
        &self,
        account_id: i64,
        id: i64,
        mut credential: Credential,
        key: &str,
    ) -> Result<(), Error> {
        credential.secret_hash = Some(hex::encode(hash_token(key)));
        self.create(account_id, id, credential).await
    }

    /// Makes a credential that signs with `secret` under the name `public_id`.
    ///
    /// # Errors
    /// The pipeline's refusal.
    pub async fn signing_pair(
        &self,
        account_id: i64,
        id: i64,
        mut credential: Credential,
        public_id: &str,
        secret: &str,
    ) -> Result<(), Error> {
        let mut nonce = [0; NONCE_BYTES];
        OsEntropy.fill(&mut nonce);
        let sealed = self.app.vault.seal(public_id, secret, nonce).map_err(Error::internal)?;
        credential.public_id = Some(public_id.to_owned());
        credential.secret_sealed = Some(sealed);
        self.create(account_id, id, credential).await
    }
}

/// The demo account.
fn sandbox() -> Account {
    Account {
        name: "Sandbox Academy".to_owned(),
        club_domain: Some("sandbox".to_owned()),
        club_type: Some("school".to_owned()),
        club_custom_data: vec![CustomData {
            attribute_name: "점수".to_owned(),
            attribute_tag: "score".to_owned(),
        }],
        ncloud_account_no: Some("2500003".to_owned()),
        solapi_account_id: Some("24010100001234".to_owned()),
        portal_url: Some("https://demo.ispringlearn.com".to_owned()),
        time_zone: Some("UTC".to_owned()),
        ..Account::default()
    }
}

/// The other account.
fn another() -> Account {
    Account {
        name: "Another Academy".to_owned(),
        club_domain: Some("another".to_owned()),
        club_type: Some("community".to_owned()),
        ncloud_account_no: Some("2500004".to_owned()),
        solapi_account_id: Some("24010100005678".to_owned()),
        portal_url: Some("https://another.ispringlearn.com".to_owned()),
        ..Account::default()
    }
}

/// The account by which a database is somebody's own and no demonstration's; none when it has no
/// account, or begins with those of the demonstration.
///
/// # Errors
/// [`Error::Unavailable`] when the database is away.
pub async fn stranger(store: &Store) -> Result<Option<String>, Error> {
    let own = [(ACCOUNT, sandbox()), (OTHER_ACCOUNT, another())];
    let mut is_demo = false;
    for document in store.documents_after(Kind::Account, None, 10).await? {
        let stored = document.map_err(Error::internal)?.typed::<Account>()?;
        // The name is the one field that can be edited.
        let ours = own.iter().find(|(id, _)| *id == stored.id());
        let is_ours =
            ours.is_some_and(|(_, ours)| ours.solapi_account_id == stored.record.solapi_account_id);
        is_demo |= is_ours;
        if !is_ours && (ours.is_some() || !is_demo) {
            return Ok(Some(format!("account {} {:?}", stored.id(), stored.record.name)));
        }
    }
    Ok(None)
}

/// What an operator of the demonstration has chosen.
pub fn config() -> Config {
    let mut config = Config::default();
    config.partner.public_account = Some(ACCOUNT);
    config
}

/// Loads the demo account.
///
/// # Errors
/// The pipeline's refusal.
pub async fn load(app: &App) -> Result<(), Error> {
    let loader = &Loader { app };
    loader.create(ACCOUNT, ACCOUNT, sandbox()).await?;
    loader.create(OTHER_ACCOUNT, OTHER_ACCOUNT, another()).await?;
    let mut everything = Credential::new(Dialect::Native, "everything in the demo account");
    everything.policies = vec!["*".to_owned()];
    loader.bearer(ACCOUNT, NATIVE_CREDENTIAL, everything, NATIVE_KEY).await?;
    kolleges::load(loader).await?;
    ncloud::load(loader).await?;
    partner::load(loader).await?;
    solapi::load(loader).await?;
    ispring::load(loader).await?;
    Ok(())
}

/// The demo account as one line of JSON for programs.
pub fn summary(base_url: &str) -> Value {
    let mut summary = Map::new();
    summary.insert("base_url".to_owned(), base_url.into());
    summary.insert("kolleges".to_owned(), kolleges::summary(base_url));
    summary.insert("ncloud".to_owned(), ncloud::summary(base_url));
    summary.insert("partner".to_owned(), partner::summary(base_url));
    summary.insert("solapi".to_owned(), solapi::summary(base_url));
    summary.insert("ispring".to_owned(), ispring::summary(base_url));
    summary.insert("native".to_owned(), json!({"api_key": NATIVE_KEY}));
    Value::Object(summary)
}

/// One paste-ready command per system that performs its documented edit, with its name.
pub fn commands(base_url: &str) -> Vec<(&'static str, String)> {
    commands_at(base_url, None)
}

/// The same for a server whose clock may be frozen: what is signed for a time is signed for that
/// one, and not for the caller's.
pub fn commands_at(base_url: &str, frozen_at: Option<Timestamp>) -> Vec<(&'static str, String)> {
    vec![
        ("Kolleges: edit a certificate", kolleges::command(base_url)),
        ("Ncloud: edit an application", ncloud::command(base_url, frozen_at)),
        ("Partner: edit a class", partner::command(base_url)),
        ("SOLAPI: edit a relationship", solapi::command(base_url, frozen_at)),
        ("iSpring Learn: edit an enrollment", ispring::command(base_url)),
    ]
}
