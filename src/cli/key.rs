//! Where the master key is, and whether it is the database's.

use std::path::PathBuf;

use crate::app::OsEntropy;
use crate::config::Config;
use crate::domain::command::Entropy as _;
use crate::store::{Store, sqlite_path};
use crate::vault::{MasterKey, NONCE_BYTES, Vault, VaultError};

/// The variable that may hold the key itself.
const VARIABLE: &str = "HAKSA_MASTER_KEY";

/// What to say when there is none.
pub(super) const MISSING: &str = "where is the master key? With PostgreSQL give --master-key-file FILE or set HAKSA_MASTER_KEY, \
     the same on every node";

/// Fills with the system's randomness.
pub(super) fn fill(bytes: &mut [u8]) {
    OsEntropy.fill(bytes);
}

/// Where the master key is.
#[derive(Debug)]
pub(super) enum KeyPlace {
    /// In the variable, whose value this is.
    Variable(String),
    /// In a file, or to be made there.
    File(PathBuf),
}

impl KeyPlace {
    /// Where the configuration and the environment have it: in the variable, else in the file that
    /// is named, else beside an SQLite file. None of these with PostgreSQL.
    pub(super) fn find(config: &Config) -> Option<Self> {
        if let Some(key) = super::variable(VARIABLE) {
            return Some(Self::Variable(key));
        }
        let beside = || {
            let path = sqlite_path(config.database.as_deref()?).ok()??;
            Some(path.with_file_name("master.key"))
        };
        config.master_key_file.clone().or_else(beside).map(Self::File)
    }

    /// The vault of `store` under the key that is here. A key is made only for a database that has
    /// none yet.
    pub(super) async fn open(&self, store: &Store) -> anyhow::Result<Vault> {
        let proof = store.master_key_proof().await?;
        let vault = Vault::new(&self.read(proof.is_none())?);
        let proof = if let Some(proof) = proof {
            proof
        } else {
            let mut nonce = [0; NONCE_BYTES];
            OsEntropy.fill(&mut nonce);
            store.keep_master_key_proof(vault.proof(nonce)?).await?
        };
        self.admit(vault, &proof)
    }

    /// The vault under the key that is here, or what is wrong with it, for a database that is only looked
    /// at.
    pub(super) async fn look(&self, store: &Store) -> anyhow::Result<Result<Vault, String>> {
        let proof = store.master_key_proof().await?;
        let admitted = self.read(false).map_err(anyhow::Error::from).and_then(|key| {
            let vault = Vault::new(&key);
            proof.map_or(Ok(vault.clone()), |proof| self.admit(vault, &proof))
        });
        Ok(admitted.map_err(|error| error.to_string()))
    }

    /// True when there is a key to look at.
    pub(super) fn is_there(&self) -> bool {
        match self {
            Self::Variable(_) => true,
            Self::File(file) => file.exists(),
        }
    }

    fn read(&self, may_make: bool) -> Result<MasterKey, VaultError> {
        match self {
            Self::Variable(key) => MasterKey::parse(key),
            Self::File(file) if may_make => MasterKey::find_or_create(None, file, fill),
            Self::File(file) if !file.exists() => {
                Err(VaultError::MasterKeyLost { path: file.clone() })
            }
            Self::File(file) => MasterKey::read(file),
        }
    }

    fn admit(&self, vault: Vault, proof: &str) -> anyhow::Result<Vault> {
        if vault.is_proved_by(proof) {
            return Ok(vault);
        }
        let place = match self {
            Self::Variable(_) => VARIABLE.to_owned(),
            Self::File(file) => file.display().to_string(),
        };
        Err(VaultError::MasterKeyOther { place }.into())
    }
}
