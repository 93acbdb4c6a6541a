//! Keeps secrets: seals the ones that must be read again (HMAC secrets) under one master key,
//! hashes the ones that need only be recognised (tokens, passwords), and finds or makes the
//! master key. Reads no clock, no environment and no randomness: all three are passed in.

use std::fmt;
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac as _};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Bytes of the master key.
pub const MASTER_KEY_BYTES: usize = 32;

/// Bytes of the nonce that [`Vault::seal`] takes; long enough to be drawn at random for each secret.
pub const NONCE_BYTES: usize = 24;

/// Bytes of the salt that [`hash_password`] takes.
pub const PASSWORD_SALT_BYTES: usize = 16;

/// Memory of one password hash in KiB: 19 MiB, the least that OWASP advises for two passes.
const PASSWORD_MEMORY_KIB: u32 = 19 * 1024;
const PASSWORD_PASSES: u32 = 2;
const PASSWORD_LANES: u32 = 1;

/// Leads every sealed text, so that another cipher can follow without a guess.
const SEALED_V1: &str = "v1.";

/// What proves a master key: this text, sealed for a credential of this name, which none can have.
const PROOF: (&str, &str) = ("the master key", "haksa");

/// From the master key and this comes the key of [`Vault::mark`].
const MARKS: &str = "haksa: marks";
/// The same of [`Vault::token`].
const TOKENS: &str = "haksa: tokens";

/// A key file is 64 digits and a line end; whatever is longer is some other file.
const KEY_FILE_BYTES_MAX: u64 = 256;

/// A value that must not reach a log: `Debug` prints a fixed word, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself. Each call is a place to review.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// Gives the value up.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for Secret<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(hidden)")
    }
}

/// Why a secret could not be kept or read. No variant carries secret material.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// `HAKSA_MASTER_KEY` has another form than 64 hexadecimal digits.
    #[error(
        "HAKSA_MASTER_KEY must be exactly 64 hexadecimal digits (32 bytes); \
         make one with: openssl rand -hex 32"
    )]
    MasterKeyText,
    /// The key file has another form than 64 hexadecimal digits.
    #[error(
        "the master key file {path} does not hold 64 hexadecimal digits; restore it from a \
         backup, or set HAKSA_MASTER_KEY: secrets sealed under the old key cannot be read without it"
    )]
    MasterKeyFileText {
        /// The file.
        path: PathBuf,
    },
    /// The key file can be read by others than its owner, or is no regular file.
    #[error(
        "the master key file {path} must be a regular file that only its owner can use, but its \
         mode is {mode:o}; run: chmod 600 {path}"
    )]
    MasterKeyFileMode {
        /// The file.
        path: PathBuf,
        /// The file's type and permission bits.
        mode: u32,
    },
    /// The key file could not be read or created.
    #[error("cannot {act} the master key file {path}: {source}")]
    MasterKeyFile {
        /// The file.
        path: PathBuf,
        /// `read` or `create`.
        act: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The key file is gone, and there are secrets under the key that it held.
    #[error(
        "the master key file {path} does not exist, but this database's signing secrets are sealed \
         under a master key; restore the file from a backup, or say where the key is: \
         --master-key-file FILE or HAKSA_MASTER_KEY"
    )]
    MasterKeyLost {
        /// The file.
        path: PathBuf,
    },
    /// A good key, but not the one under which the database's secrets are sealed.
    #[error(
        "the master key in {place} is not the one under which this database's signing secrets are \
         sealed; restore that one from a backup, or say where it is: --master-key-file FILE or \
         HAKSA_MASTER_KEY"
    )]
    MasterKeyOther {
        /// The file, or the variable.
        place: String,
    },
    /// A sealed text that no version of this module wrote.
    #[error("a sealed secret has an unknown form")]
    SealedForm,
    /// A sealed text that was made under another master key or for another credential, or that
    /// was altered.
    #[error("a sealed secret does not open: wrong master key, wrong credential, or altered data")]
    SealedForAnother,
    /// The secret is too long for the cipher.
    #[error("a secret is too long to be sealed")]
    TooLong,
    /// A stored password hash that cannot be read, or a password beyond the algorithm's bounds.
    #[error("a password cannot be hashed or its stored hash cannot be read")]
    PasswordHash,
}

/// The 32-byte key under which readable secrets are sealed.
#[derive(Debug, Clone)]
pub struct MasterKey(Secret<[u8; MASTER_KEY_BYTES]>);

impl MasterKey {
    /// A key from its bytes.
    pub const fn from_bytes(bytes: [u8; MASTER_KEY_BYTES]) -> Self {
        Self(Secret::new(bytes))
    }

    /// The key from the value of `HAKSA_MASTER_KEY`: 64 hexadecimal digits, spaces around allowed.
    ///
    /// # Errors
    /// [`VaultError::MasterKeyText`] when it is not a key.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        decode_key(text).ok_or(VaultError::MasterKeyText)
    }

    /// The key to serve with: `configured` (the value of `HAKSA_MASTER_KEY`) if there is one, else
    /// the one in `key_file`, which is created from `fill` when it does not exist yet.
    ///
    /// Creation never overwrites, is atomic and is on disk when this returns: another process that
    /// starts at the same moment ends up with the same key.
    ///
    /// # Errors
    /// [`VaultError`] when there is no usable key and none can be made.
    pub fn find_or_create(
        configured: Option<&str>,
        key_file: &Path,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<Self, VaultError> {
        if let Some(text) = configured {
            return Self::parse(text);
        }
        match Self::read(key_file) {
            Err(VaultError::MasterKeyFile { source, .. })
                if source.kind() == io::ErrorKind::NotFound =>
            {
                let mut bytes = [0; MASTER_KEY_BYTES];
                fill(&mut bytes);
                create_key_file(key_file, &bytes).map_err(|source| VaultError::MasterKeyFile {
                    path: key_file.to_path_buf(),
                    act: "create",
                    source,
                })?;
                Self::read(key_file)
            }
            found => found,
        }
    }

    /// The key in an existing file; refuses a file that group or others can touch.
    ///
    /// # Errors
    /// [`VaultError`] when it cannot be read, is no key, or is not private.
    pub fn read(key_file: &Path) -> Result<Self, VaultError> {
        let path = || key_file.to_path_buf();
        let failed = |source| VaultError::MasterKeyFile { path: path(), act: "read", source };
        let mut file = File::open(key_file).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() || meta.mode() & 0o077 != 0 {
            return Err(VaultError::MasterKeyFileMode { path: path(), mode: meta.mode() });
        }
        let mut bytes = Vec::new();
        (&mut file).take(KEY_FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
        std::str::from_utf8(&bytes)
            .ok()
            .and_then(decode_key)
            .ok_or_else(|| VaultError::MasterKeyFileText { path: path() })
    }
}

fn decode_key(text: &str) -> Option<MasterKey> {
    let mut bytes = [0; MASTER_KEY_BYTES];
    hex::decode_to_slice(text.trim(), &mut bytes).ok()?;
    Some(MasterKey::from_bytes(bytes))
}

/// Writes a private draft first and moves it into place without replacing: a crash never leaves
/// half a key under the real name, and a key that is in use is never lost to a second start.
fn create_key_file(key_file: &Path, bytes: &[u8; MASTER_KEY_BYTES]) -> io::Result<()> {
    let folder = match key_file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut draft = tempfile::Builder::new()
        .prefix("haksa-key-")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    draft.write_all(format!("{}\n", hex::encode(bytes)).as_bytes())?;
    draft.as_file().sync_all()?;
    match draft.persist_noclobber(key_file) {
        Ok(_) => File::open(folder)?.sync_all(),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}

/// Seals and opens the secrets that must be readable. A sealed text is bound to the public id of
/// its credential: moved to another row, it does not open.
#[derive(Clone)]
pub struct Vault {
    cipher: XChaCha20Poly1305,
    /// Begun with a key of its own.
    marks: Hmac<Sha256>,
    /// The same.
    tokens: Hmac<Sha256>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Vault(hidden)")
    }
}

impl Vault {
    /// A vault under this key.
    pub fn new(key: &MasterKey) -> Self {
        let begun = |purpose: &str| {
            hmac(&hmac(key.0.expose()).chain_update(purpose).finalize().into_bytes().into())
        };
        let cipher = XChaCha20Poly1305::new(key.0.expose().into());
        Self { cipher, marks: begun(MARKS), tokens: begun(TOKENS) }
    }

    /// A text by which the same thing is known again, and from which nobody without the master key can
    /// tell what it is, however few there are to be tried: an HMAC-SHA-256, the first half of it.
    pub fn mark(&self, of: &str) -> String {
        let mark = self.marks.clone().chain_update(of).finalize().into_bytes();
        hex::encode(mark.first_chunk::<16>().unwrap_or(&[0; 16]))
    }

    /// The token that follows from `of`, as long as one of [`random_token`]: the same whenever it is asked
    /// for, and known to nobody without both the master key and `of`.
    pub fn token(&self, of: &str) -> Secret<String> {
        let token = self.tokens.clone().chain_update(of).finalize().into_bytes();
        Secret::new(URL_SAFE_NO_PAD.encode(token))
    }

    /// Seals a secret for the credential with this public id.
    ///
    /// The nonce must be fresh randomness for every call. The text is `v1.` and the base64url of
    /// the nonce followed by the XChaCha20-Poly1305 ciphertext and tag.
    ///
    /// # Errors
    /// [`VaultError::TooLong`].
    pub fn seal(
        &self,
        credential_id: &str,
        secret: &str,
        nonce: [u8; NONCE_BYTES],
    ) -> Result<String, VaultError> {
        let payload = Payload { msg: secret.as_bytes(), aad: credential_id.as_bytes() };
        let sealed =
            self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| VaultError::TooLong)?;
        Ok(format!("{SEALED_V1}{}", URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat())))
    }

    /// A text by which [`Self::is_proved_by`] knows this vault's master key again.
    ///
    /// # Errors
    /// None in practice; see [`Self::seal`].
    pub fn proof(&self, nonce: [u8; NONCE_BYTES]) -> Result<String, VaultError> {
        let (name, text) = PROOF;
        self.seal(name, text, nonce)
    }

    /// True when `proof` was made under this vault's master key.
    pub fn is_proved_by(&self, proof: &str) -> bool {
        let (name, text) = PROOF;
        self.open(name, proof).is_ok_and(|opened| opened.expose() == text)
    }

    /// Opens what [`Self::seal`] made for the same credential under the same master key.
    ///
    /// # Errors
    /// [`VaultError`] when the text is damaged or was sealed for another credential or key.
    pub fn open(&self, credential_id: &str, sealed: &str) -> Result<Secret<String>, VaultError> {
        let encoded = sealed.strip_prefix(SEALED_V1).ok_or(VaultError::SealedForm)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| VaultError::SealedForm)?;
        let (nonce, msg) =
            bytes.split_first_chunk::<NONCE_BYTES>().ok_or(VaultError::SealedForm)?;
        let opened = self
            .cipher
            .decrypt(&XNonce::from(*nonce), Payload { msg, aad: credential_id.as_bytes() })
            .map_err(|_| VaultError::SealedForAnother)?;
        String::from_utf8(opened).map(Secret::new).map_err(|_| VaultError::SealedForm)
    }
}

/// An HMAC with this key, which is filled up with zeros to a whole block (RFC 2104 section 2).
fn hmac(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    Hmac::new(&block.into())
}

/// A token to hand out: 256 random bits as 43 characters of base64url.
pub fn random_token(fill: impl FnOnce(&mut [u8])) -> Secret<String> {
    let mut bytes = [0; 32];
    fill(&mut bytes);
    Secret::new(URL_SAFE_NO_PAD.encode(bytes))
}

/// What is stored of a token: its SHA-256. Enough because tokens are random, not chosen.
pub fn hash_token(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Compares without telling by its duration where the two differ; lengths are not hidden.
pub fn is_equal_constant_time(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

/// Hashes a chosen password with argon2id; the result is a PHC string that carries salt and cost.
///
/// Takes tens of milliseconds and 19 MiB: call it off the async threads.
///
/// # Errors
/// [`VaultError`] when the password cannot be hashed.
pub fn hash_password(
    password: &str,
    salt: [u8; PASSWORD_SALT_BYTES],
) -> Result<String, VaultError> {
    let params = Params::new(PASSWORD_MEMORY_KIB, PASSWORD_PASSES, PASSWORD_LANES, None)
        .map_err(|_| VaultError::PasswordHash)?;
    let hash: PasswordHash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|_| VaultError::PasswordHash)?;
    Ok(hash.to_string())
}

/// Whether the password is the one behind a PHC string that [`hash_password`] made, now or with
/// the costs of an earlier release. An unreadable hash is an error, never a mismatch.
///
/// # Errors
/// [`VaultError`] when `hash` is no hash.
pub fn is_password(password: &str, hash: &str) -> Result<bool, VaultError> {
    let hash = PasswordHash::new(hash).map_err(|_| VaultError::PasswordHash)?;
    match Argon2::default().verify_password(password.as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(_) => Err(VaultError::PasswordHash),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const KEY: [u8; MASTER_KEY_BYTES] = [7; MASTER_KEY_BYTES];
    const NONCE: [u8; NONCE_BYTES] = [9; NONCE_BYTES];

    fn vault() -> Vault {
        Vault::new(&MasterKey::from_bytes(KEY))
    }

    fn forbidden(_: &mut [u8]) {
        unreachable!("no key may be made here");
    }

    #[test]
    fn a_mark_is_of_one_thing_and_one_key() {
        let mark = vault().mark("1 2 3 192.0.2.7");
        assert_eq!(mark, vault().mark("1 2 3 192.0.2.7"));
        assert_eq!(mark.len(), 32);
        assert_ne!(mark, vault().mark("1 2 3 192.0.2.8"));
        assert_ne!(mark, Vault::new(&MasterKey::from_bytes([8; 32])).mark("1 2 3 192.0.2.7"));
    }

    #[test]
    fn sealed_secret_opens_for_its_credential_only() {
        let sealed = vault().seal("NCSTESTKEY000001", "demo secret é", NONCE).unwrap();
        assert!(sealed.starts_with("v1."));
        assert!(!sealed.contains("demo"));
        let opened = vault().open("NCSTESTKEY000001", &sealed).unwrap();
        assert_eq!(opened.expose(), "demo secret é");
        assert!(matches!(
            vault().open("NCSTESTKEY000002", &sealed),
            Err(VaultError::SealedForAnother)
        ));
        let other = Vault::new(&MasterKey::from_bytes([8; 32]));
        assert!(matches!(
            other.open("NCSTESTKEY000001", &sealed),
            Err(VaultError::SealedForAnother)
        ));
    }

    #[test]
    fn a_proof_knows_its_key_and_no_other() {
        let proof = vault().proof(NONCE).unwrap();
        assert!(vault().is_proved_by(&proof));
        assert!(!Vault::new(&MasterKey::from_bytes([8; 32])).is_proved_by(&proof));
        let secret = vault().seal("id", "haksa", NONCE).unwrap();
        for other in [secret.as_str(), "", "v1.AAAA"] {
            assert!(!vault().is_proved_by(other), "{other}");
        }
    }

    #[test]
    fn every_altered_character_is_noticed() {
        let sealed = vault().seal("id", "demo", NONCE).unwrap();
        for at in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(bytes).unwrap();
            assert!(vault().open("id", &altered).is_err(), "position {at}");
        }
        for short in ["", "v1.", "v1.AAAA", "v2.AAAA", "v1.%%%"] {
            assert!(matches!(vault().open("id", short), Err(VaultError::SealedForm)), "{short}");
        }
    }

    #[test]
    fn empty_and_long_secrets_travel() {
        for secret in [String::new(), "x".repeat(100_000)] {
            let sealed = vault().seal("id", &secret, NONCE).unwrap();
            assert_eq!(vault().open("id", &sealed).unwrap().into_inner(), secret);
        }
    }

    #[test]
    fn sealing_follows_the_published_construction() {
        // draft-irtf-cfrg-xchacha-03, appendix A.3.1: key 80..9f, nonce 40..57.
        let key: [u8; 32] = std::array::from_fn(|at| 0x80 + u8::try_from(at).unwrap());
        let nonce: [u8; 24] = std::array::from_fn(|at| 0x40 + u8::try_from(at).unwrap());
        let text = "Ladies and Gentlemen of the class of '99: If I could offer you only one tip \
                    for the future, sunscreen would be it.";
        let vault = Vault::new(&MasterKey::from_bytes(key));
        let sealed = vault.seal("", text, nonce).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(sealed.strip_prefix("v1.").unwrap()).unwrap();
        assert_eq!(hex::encode(&bytes[24..40]), "bd6d179d3e83d43b9576579493c0e939");
    }

    #[test]
    fn configured_key_wins_and_touches_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haksa.key");
        let text = format!(" {}\n", "aB".repeat(32));
        let key = MasterKey::find_or_create(Some(&text), &file, forbidden).unwrap();
        assert_eq!(key.0.expose(), &[0xab; 32]);
        assert!(!file.exists());
    }

    #[test]
    fn malformed_configured_key_is_refused_without_being_shown() {
        for text in ["", "00", &"0".repeat(63), &"0".repeat(66), &"zz".repeat(32)] {
            let error = MasterKey::find_or_create(Some(text), Path::new("/nowhere"), forbidden)
                .unwrap_err();
            assert!(matches!(error, VaultError::MasterKeyText));
            assert!(text.is_empty() || text == "00" || !error.to_string().contains(text));
        }
    }

    #[test]
    fn key_file_is_made_once_private_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haksa.key");
        let made = MasterKey::find_or_create(None, &file, |bytes| bytes.fill(3)).unwrap();
        assert_eq!(made.0.expose(), &[3; 32]);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{}\n", "03".repeat(32)));
        let again = MasterKey::find_or_create(None, &file, forbidden).unwrap();
        assert_eq!(again.0.expose(), &[3; 32]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn creation_never_replaces_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haksa.key");
        create_key_file(&file, &[1; 32]).unwrap();
        create_key_file(&file, &[2; 32]).unwrap();
        assert_eq!(MasterKey::read(&file).unwrap().0.expose(), &[1; 32]);
    }

    #[test]
    fn key_file_that_others_can_touch_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haksa.key");
        create_key_file(&file, &KEY).unwrap();
        for mode in [0o604, 0o620, 0o644, 0o610] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let error = MasterKey::find_or_create(None, &file, forbidden).unwrap_err();
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        fs::set_permissions(&file, Permissions::from_mode(0o400)).unwrap();
        assert!(MasterKey::find_or_create(None, &file, forbidden).is_ok());
    }

    #[test]
    fn damaged_or_unreachable_key_file_is_an_error_not_a_new_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haksa.key");
        create_key_file(&file, &KEY).unwrap();
        for text in [b"".as_slice(), b"00", b"\xff\xfe", &[b'0'; 1000]] {
            fs::write(&file, text).unwrap();
            assert!(matches!(
                MasterKey::find_or_create(None, &file, forbidden),
                Err(VaultError::MasterKeyFileText { .. })
            ));
        }
        assert!(matches!(
            MasterKey::find_or_create(None, folder.path(), forbidden),
            Err(VaultError::MasterKeyFileMode { .. })
        ));
        assert!(matches!(
            MasterKey::find_or_create(None, &folder.path().join("missing/key"), |_| ()),
            Err(VaultError::MasterKeyFile { act: "create", .. })
        ));
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let key = MasterKey::from_bytes([42; 32]);
        let shown = format!("{:?} {key:?} {:?}", Secret::new("demo-token"), Vault::new(&key));
        assert!(!shown.contains("demo-token") && !shown.contains("42"), "{shown}");
    }

    #[test]
    fn token_is_43_url_safe_characters_and_its_hash_is_sha256() {
        let token = random_token(|bytes| bytes.fill(0xff)).into_inner();
        assert_eq!(token, format!("{}8", "_".repeat(42)));
        assert_eq!(
            hex::encode(hash_token("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn constant_time_comparison_agrees_with_equality() {
        for (left, right) in [("", ""), ("a", "a"), ("a", "b"), ("a", "ab"), ("ab", "a")] {
            assert_eq!(
                is_equal_constant_time(left.as_bytes(), right.as_bytes()),
                left == right,
                "{left} {right}"
            );
        }
    }

    #[test]
    fn password_hash_verifies_and_carries_its_cost() {
        let hash = hash_password("demo pässword", [5; PASSWORD_SALT_BYTES]).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(is_password("demo pässword", &hash).unwrap());
        assert!(!is_password("demo password", &hash).unwrap());
        assert!(!is_password("", &hash).unwrap());
        assert!(is_password("x", "not a hash").is_err());
    }
}
