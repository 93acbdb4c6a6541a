//! The operator's choices: `haksa.toml`, overridden by `HAKSA_…` variables, overridden by options.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::vault::Secret;

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
    /// Where clients reach the server, `https://HOST`, without a slash at the end: what addresses in
    /// answers begin with.
    pub public_url: Option<String>,
    /// Kolleges' choices.
    pub kolleges: KollegesConfig,
    /// The partner API's choices.
    pub partner: PartnerConfig,
    /// SOLAPI's choices.
    pub solapi: SolapiConfig,
    /// How e-mail is sent.
    pub mail: MailConfig,
    /// How text messages are sent.
    pub sms: SmsConfig,
    /// What the server may take, and an account of it.
    pub limits: LimitsConfig,
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
    /// The account whose courses and models anybody may list.
    pub public_account: Option<i64>,
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

/// How e-mail is sent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MailConfig {
    /// The mail server, `smtp://[USER:PASSWORD@]HOST[:PORT]` or `smtps://…`; without one, e-mail
    /// waits.
    pub url: Option<Secret<String>>,
    /// Who sends, `ADDRESS` or `NAME <ADDRESS>`.
    pub from: Option<String>,
    /// The file with the words of an e-mail.
    pub template: Option<PathBuf>,
}

/// How text messages are sent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct SmsConfig {
    /// The gateway, like `https://api.solapi.com`; without one, text messages wait.
    pub url: Option<String>,
    /// The gateway's API key.
    pub api_key: Option<String>,
    /// The key's secret.
    pub api_secret: Option<Secret<String>>,
    /// The number that sends, as registered with the gateway.
    pub from: Option<String>,
    /// The file with the words of a text message.
    pub template: Option<PathBuf>,
}

/// What the server may take, and an account of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct LimitsConfig {
    /// What one account may write for ever, MiB of history and contents a second.
    pub account_write_mib_s: u32,
    /// Connections at the same time; fewer, where the process may not have as many descriptors.
    pub connections: Option<usize>,
    /// Memory, MiB: bodies, answers and pictures have shares of it.
    pub memory_mib: Option<usize>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { account_write_mib_s: 4, connections: None, memory_mib: None }
    }
}

/// Every key, with dots.
pub const KEYS: &[&str] = &[
    "listen",
    "database",
    "master_key_file",
    "public_url",
    "kolleges.unknown_fields",
    "partner.public_account",
    "partner.rules",
    "solapi.hmac_md5",
    "mail.url",
    "mail.from",
    "mail.template",
    "sms.url",
    "sms.api_key",
    "sms.api_secret",
    "sms.from",
    "sms.template",
    "limits.account_write_mib_s",
    "limits.connections",
    "limits.memory_mib",
];

/// Every section.
fn sections() -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(|key| key.split_once('.')).map(|(section, _)| section)
}

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
    /// The file is not TOML, or a value is of the wrong type. The line itself is not shown: a
    /// database's address holds its password.
    #[error("{path}, line {line}, column {column}: {cause}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// The line at fault, from 1.
        line: usize,
        /// The character in that line, from 1.
        column: usize,
        /// What is wrong.
        cause: String,
    },
    /// The file has a key or a section that means nothing.
    #[error("{path}: unknown {what} `{name}`; did you mean `{nearest}`?")]
    Unknown {
        /// Which file.
        path: PathBuf,
        /// `key` or `section`.
        what: &'static str,
        /// Its name, with dots.
        name: String,
        /// The known name most like it.
        nearest: &'static str,
    },
    /// A section's name stands before a value.
    #[error("{path}: `{name}` is a section: write [{name}] and its keys below")]
    Section {
        /// Which file.
        path: PathBuf,
        /// The section.
        name: String,
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
        let parse = |cause: toml::de::Error| {
            let before = cause.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.rsplit('\n').next().unwrap_or_default();
            ConfigError::Parse {
                path: path.to_owned(),
                line: before.matches('\n').count() + 1,
                column: line.chars().count() + 1,
                cause: cause.message().to_owned(),
            }
        };
        let table: toml::Table = toml::from_str(text).map_err(parse)?;
        check_names(path, "", &table)?;
        toml::from_str(text).map_err(parse)
    }
}

/// Refuses names that mean nothing, sections without keys too.
fn check_names(path: &Path, section: &str, table: &toml::Table) -> Result<(), ConfigError> {
    for (name, value) in table {
        let name = format!("{section}{name}");
        if sections().any(|section| section == name) {
            let toml::Value::Table(inner) = value else {
                return Err(ConfigError::Section { path: path.to_owned(), name });
            };
            check_names(path, &format!("{name}."), inner)?;
        } else if !KEYS.contains(&name.as_str()) {
            let what = if value.is_table() { "section" } else { "key" };
            let nearest = nearest(section, &name);
            return Err(ConfigError::Unknown { path: path.to_owned(), what, name, nearest });
        }
    }
    Ok(())
}

/// The known name most like `name`: one of its section, or a key that was put outside of its own.
fn nearest(section: &str, name: &str) -> &'static str {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let distance = |known: &&str| {
        let misplaced = strsim::damerau_levenshtein(&last(known), &last(name)) + 1;
        strsim::damerau_levenshtein(known, name).min(misplaced)
    };
    let known = KEYS.iter().copied().chain(sections()).filter(|known| known.starts_with(section));
    known.min_by_key(distance).unwrap_or("listen")
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
             public_url = 'https://haksa.example'\n\
             [kolleges]\nunknown_fields = 'ignore'\n[partner]\nrules = 'vendor'\n\
             [solapi]\nhmac_md5 = true\n[mail]\nurl = 'smtp://u:demo-password@h'\nfrom = 'a@b.example'\n\
             template = 'm.txt'\n[sms]\nurl = 'https://h'\napi_key = 'K'\napi_secret = 'demo-secret'\n\
             from = '021234567'\ntemplate = 's.txt'\n[limits]\naccount_write_mib_s = 9\n\
             connections = 9\nmemory_mib = 300\n",
        )
        .unwrap();
        assert_eq!(config.listen.as_deref(), Some("0.0.0.0:80"));
        assert_eq!(config.kolleges.unknown_fields, UnknownFields::Ignore);
        assert_eq!(config.partner.rules, PartnerRules::Vendor);
        assert!(config.solapi.hmac_md5);
        assert_eq!(config.mail.url.as_ref().unwrap().expose(), "smtp://u:demo-password@h");
        assert_eq!(config.sms.from.as_deref(), Some("021234567"));
        assert_eq!(config.limits.connections.zip(config.limits.memory_mib), Some((9, 300)));
        let shown = format!("{config:?}");
        assert!(!shown.contains("demo-password") && !shown.contains("demo-secret"), "{shown}");
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_known_one() {
        for (text, message) in [
            ("lissten = 'x'", "unknown key `lissten`; did you mean `listen`?"),
            (
                "[kolleges]\nunknown_field = 'ignore'",
                "unknown key `kolleges.unknown_field`; did you mean `kolleges.unknown_fields`?",
            ),
            ("hmac_md5 = true", "unknown key `hmac_md5`; did you mean `solapi.hmac_md5`?"),
            ("[solapy]", "unknown section `solapy`; did you mean `solapi`?"),
            ("[solapy]\nhmac_md5 = true", "unknown section `solapy`; did you mean `solapi`?"),
            ("[solapi.x.y]", "unknown section `solapi.x`; did you mean `solapi.hmac_md5`?"),
            ("[kollege]", "unknown section `kollege`; did you mean `kolleges`?"),
            ("solapi = true", "`solapi` is a section: write [solapi] and its keys below"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, format!("haksa.toml: {message}"), "{text}");
        }
        assert!(parse("[foo]").unwrap_err().contains("unknown section `foo`"));
        assert!(parse("[kolleges]\n[solapi]").is_ok());
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused() {
        assert!(parse("listen = 80").unwrap_err().contains("expected a string"));
        assert!(parse("[kolleges]\nunknown_fields = 'drop'").unwrap_err().contains("refuse"));
        assert!(parse("[listen]").unwrap_err().contains("expected a string"));
    }

    #[test]
    fn a_fault_is_located_without_showing_the_line() {
        for (text, place) in [
            ("\nlisten = 'x'\ndatabase = 'postgres://bob:demo-password@h/x", "line 3, column "),
            ("database = ['postgres://bob:demo-password@h/x']", "line 1, column 12: "),
            ("listen = 'é'\n  database = 'postgres://bob:demo-password@h/x' x", "line 2, column "),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(&format!("haksa.toml, {place}")), "{error}");
            assert!(!error.contains("demo-password"), "{error}");
        }
    }
}
