//! The operator's choices: `haksa.toml`, overridden by `HAKSA_…` variables, overridden by options.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Everything that can be chosen.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where to listen, `ADDRESS:PORT`.
    pub listen: Option<String>,
    /// Where records live: `sqlite:PATH` or `postgres://…`.
    pub database: Option<String>,
    /// The file with the master key that seals signing secrets.
    pub master_key_file: Option<PathBuf>,
    /// Kolleges' choices.
    pub kolleges: KollegesConfig,
    /// The partner API's choices.
    pub partner: PartnerConfig,
    /// SOLAPI's choices.
    pub solapi: SolapiConfig,
}

/// Kolleges' choices.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct KollegesConfig {
    /// What to do with body keys that the route does not know.
    pub unknown_fields: UnknownFields,
}

/// What to do with body keys that a route does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum UnknownFields {
    /// 400, naming them.
    #[default]
    Refuse,
    /// As if they were not there.
    Ignore,
}

/// The partner API's choices.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PartnerConfig {
    /// Which rules the edit of a class keeps to.
    pub rules: PartnerRules,
}

/// Which rules the edit of a class keeps to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PartnerRules {
    /// All.
    #[default]
    Strict,
    /// The vendor's alone.
    Vendor,
}

/// SOLAPI's choices.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SolapiConfig {
    /// Whether `HMAC-MD5` signatures are accepted beside `HMAC-SHA256`.
    pub hmac_md5: bool,
}

/// Every key, with dots.
const KEYS: &[&str] = &[
    "listen",
    "database",
    "master_key_file",
    "kolleges.unknown_fields",
    "partner.rules",
    "solapi.hmac_md5",
];

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file is not TOML, or a value is of the wrong type.
    #[error("{path}: {cause}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and where.
        cause: Box<toml::de::Error>,
    },
    /// The file has a key that means nothing.
    #[error("{path}: unknown key `{key}`; did you mean `{nearest}`?")]
    UnknownKey {
        /// Which file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The known key most like it.
        nearest: &'static str,
    },
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError`], saying what to change.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let parse = |cause| ConfigError::Parse { path: path.to_owned(), cause: Box::new(cause) };
        let table: toml::Table = toml::from_str(text).map_err(parse)?;
        if let Some(key) = unknown_key("", &table) {
            let distance = |known: &&&str| strsim::damerau_levenshtein(known, &key);
            let nearest = KEYS.iter().min_by_key(distance).copied().unwrap_or("listen");
            return Err(ConfigError::UnknownKey { path: path.to_owned(), key, nearest });
        }
        toml::from_str(text).map_err(parse)
    }
}

fn unknown_key(prefix: &str, table: &toml::Table) -> Option<String> {
    table.iter().find_map(|(name, value)| {
        let key = format!("{prefix}{name}");
        if KEYS.contains(&key.as_str()) {
            return None;
        }
        match value {
            toml::Value::Table(inner) => unknown_key(&format!("{key}."), inner),
            _ => Some(key),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("haksa.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn reads_every_key() {
        let config = parse(
            "listen = '0.0.0.0:80'\ndatabase = 'sqlite:a.db'\nmaster_key_file = 'k'\n\
             [kolleges]\nunknown_fields = 'ignore'\n[partner]\nrules = 'vendor'\n\
             [solapi]\nhmac_md5 = true\n",
        )
        .unwrap();
        assert_eq!(config.listen.as_deref(), Some("0.0.0.0:80"));
        assert_eq!(config.kolleges.unknown_fields, UnknownFields::Ignore);
        assert_eq!(config.partner.rules, PartnerRules::Vendor);
        assert!(config.solapi.hmac_md5);
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        for (text, nearest) in [
            ("lissten = 'x'", "listen"),
            ("[kolleges]\nunknown_field = 'ignore'", "kolleges.unknown_fields"),
            ("[solapy]\nhmac_md5 = true", "solapi.hmac_md5"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(&format!("did you mean `{nearest}`")), "{error}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused() {
        assert!(parse("listen = 80").unwrap_err().contains("expected a string"));
        assert!(parse("[kolleges]\nunknown_fields = 'drop'").unwrap_err().contains("refuse"));
    }
}
