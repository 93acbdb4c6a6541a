//! The program itself: `haksa serve` sends, is killed, stops, and refuses what would lead nowhere.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use haksa::app::{App, Clock};
use haksa::config::Config;
use haksa::demo;
use haksa::domain::delivery::message::{Channel, Message};
use haksa::domain::delivery::outbox::Outbox;
use haksa::store::Store;
use haksa::vault::{MasterKey, Vault};

use super::mail_server::MailServer;
use super::{ACCOUNT, Announce, NAME, announce_through};
use crate::cli::Running;

const HAKSA: &str = env!("CARGO_BIN_EXE_haksa");
const MASTER_KEY: &str = "0707070707070707070707070707070707070707070707070707070707070707";
/// What the program allows for a stop, and something for a busy machine.
const STOP_WITHIN: Duration = Duration::from_secs(14);

fn database(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("haksa.db").display())
}

/// A database with a certificate and its message, and no server.
async fn issued(folder: &Path, channel: Channel, recipient: &str) -> i64 {
    let store = Store::open(&database(folder)).await.unwrap();
    store.migrate().await.unwrap();
    let vault = Vault::new(&MasterKey::from_bytes([7; 32]));
    let (app, running) =
        App::start(store, vault, Clock::System, Outbox::default(), Config::default()).unwrap();
    demo::load(&app).await.unwrap();
    let command = Announce {
        outbox: app.outbox.clone(),
        channel,
        holder_name: NAME.to_owned(),
        recipients: vec![recipient.to_owned()],
    };
    let id = announce_through(&app.pipeline, command).await[0];
    drop(app);
    running.writer.join().await;
    id
}

async fn status(folder: &Path, id: i64) -> String {
    let store = Store::open(&database(folder)).await.unwrap();
    let message = store.read(|facts| facts.get::<Message>(ACCOUNT, id)).await.unwrap();
    message.record.status.name().to_owned()
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(HAKSA);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--database", &database(folder)])
        .env("HAKSA_MASTER_KEY", MASTER_KEY)
        .stderr(Stdio::null());
    command
}

fn serve(folder: &Path, mails: &MailServer) -> Running {
    serve_with(folder, &format!("smtp://127.0.0.1:{}", mails.port), Path::new(""))
}

/// Serves with a mail server, trusting the certificates in a file.
fn serve_with(folder: &Path, mail_url: &str, trusted: &Path) -> Running {
    let mut command = command(folder);
    if trusted.is_file() {
        command.env("SSL_CERT_FILE", trusted);
    }
    let child = command
        .env("HAKSA_MAIL_URL", mail_url)
        .args(["--mail-from", "cert@hanbit.example"])
        .spawn();
    Running(child.expect("haksa starts"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_sends_what_was_held_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let id = issued(folder.path(), Channel::Email, "hong@example.com").await;
    assert_eq!(status(folder.path(), id).await, "held");
    let mut mails = MailServer::start().await;
    let mut running = serve(folder.path(), &mails);
    let mail = mails.next().await;
    assert_eq!(mail["headers"]["to"], "홍길동 <hong@example.com>");
    running.signal("TERM");
    let told = Instant::now();
    let exit = loop {
        if let Some(exit) = running.0.try_wait().unwrap() {
            break exit;
        }
        assert!(told.elapsed() < STOP_WITHIN, "it still runs");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(exit.code(), Some(0));
    assert_eq!(status(folder.path(), id).await, "sent", "the answer was waited for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_while_it_sends_tells_nobody_twice() {
    let folder = tempfile::tempdir().unwrap();
    let id = issued(folder.path(), Channel::Email, "slow@example.com").await;
    let mut mails = MailServer::start().await;
    let running = serve(folder.path(), &mails);
    mails.next().await;
    running.signal("KILL");
    drop(running);
    assert_eq!(status(folder.path(), id).await, "sending");
    let running = serve(folder.path(), &mails);
    // A few looks of the worker's.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(mails.rest().len(), 0);
    drop(running);
    assert_eq!(status(folder.path(), id).await, "sending");
}

#[test]
fn a_start_that_would_lead_nowhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let template = folder.path().join("mail.txt");
    std::fs::write(&template, "Subject: {{ form_name }}\n\n{{ holder }}님\n").unwrap();
    let template = template.display().to_string();
    let url = "smtp://haksa:demo-password@mail.example";
    for (arguments, words) in [
        (vec!["--mail-url", url], "mail.from: mail.url needs it"),
        (
            vec!["--mail-template", &template],
            "mail.txt: line 3: unknown name `holder`; there are holder_",
        ),
        (vec!["--mail-url", "mail.example"], "mail.url: must be smtp://"),
        (vec!["--sms-url", "https://h"], "sms.api_key: sms.url needs it"),
    ] {
        let output = command(folder.path())
            .args(&arguments)
            .stderr(Stdio::piped())
            .output()
            .expect("haksa starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(!said.contains("demo-password"), "{said}");
    }
}

/// Makes an authority, and a certificate of it for `localhost`. Gives the files of the authority, and
/// of the certificate with its key.
fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        let status = command.args(arguments.split(' ')).current_dir(folder).stderr(Stdio::null());
        assert!(status.status().expect("openssl runs").success(), "openssl {arguments}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=test"));
    openssl(&format!(
        "req -x509 {key} -keyout key.pem -out cert.pem -subj /CN=localhost -CA ca.pem -CAkey ca.key \
         -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE"
    ));
    let both = ["cert.pem", "key.pem"].map(|name| std::fs::read(folder.join(name)).unwrap());
    let file = folder.join("both.pem");
    std::fs::write(&file, both.concat()).unwrap();
    (folder.join("ca.pem"), file)
}

/// Makes a certificate that signs itself, good until a time like `21000101000000Z`. Gives its file, and the
/// one with its key.
fn self_signed(folder: &Path, name: &str, host: &str, until: &str) -> (PathBuf, PathBuf) {
    let folder = folder.join(name);
    std::fs::create_dir(&folder).unwrap();
    let config = format!(
        "[ca]\ndefault_ca = d\n[d]\ndatabase = index\nnew_certs_dir = .\nrand_serial = yes\n\
         default_md = sha256\npolicy = p\nx509_extensions = e\n[p]\ncommonName = supplied\n\
         [e]\nsubjectAltName = DNS:{host}\nbasicConstraints = critical,CA:TRUE\n"
    );
    std::fs::write(folder.join("config"), config).unwrap();
    std::fs::write(folder.join("index"), "").unwrap();
    let from = "20200101000000Z";
    for arguments in [
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out asked -subj /CN=x"
            .to_owned(),
        format!(
            "ca -batch -selfsign -notext -config config -keyfile key.pem -in asked -out cert.pem \
             -startdate {from} -enddate {until}"
        ),
    ] {
        let mut command = Command::new("openssl");
        let command = command.args(arguments.split(' ')).current_dir(&folder).stderr(Stdio::null());
        assert!(command.status().expect("openssl runs").success(), "openssl {arguments}");
    }
    let both = ["cert.pem", "key.pem"].map(|name| std::fs::read(folder.join(name)).unwrap());
    std::fs::write(folder.join("both.pem"), both.concat()).unwrap();
    (folder.join("cert.pem"), folder.join("both.pem"))
}

/// What the first attempt meets.
async fn first_error(folder: &Path, id: i64) -> String {
    let store = Store::open(&database(folder)).await.unwrap();
    let begun = Instant::now();
    while begun.elapsed() < STOP_WITHIN {
        let message = store.read(|facts| facts.get::<Message>(ACCOUNT, id)).await.unwrap();
        if let Some(error) = message.record.last_error.clone() {
            return error;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("no attempt was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_messages_are_encrypted() {
    let files = tempfile::tempdir().unwrap();
    let (authority, certificate) = certificate(files.path());
    let mut gateway = MailServer::gateway(certificate.to_str().unwrap()).await;
    let url = format!("https://localhost:{}", gateway.port);
    let serve = |folder: &Path| {
        let mut command = command(folder);
        command.env("HAKSA_SMS_API_SECRET", "demo-sms-secret").args([
            "--sms-url",
            &url,
            "--sms-api-key",
            "EXAMPLESMSKEY001",
            "--sms-from",
            "02-1234-5678",
        ]);
        command
    };
    let folder = tempfile::tempdir().unwrap();
    issued(folder.path(), Channel::Phone, "01012345678").await;
    let child = serve(folder.path()).env("SSL_CERT_FILE", &authority).spawn();
    let running = Running(child.expect("haksa starts"));
    let taken = gateway.next().await;
    assert_eq!(taken["path"], "/messages/v4/send-many/detail");
    assert_eq!(taken["body"]["messages"][0]["to"], "01012345678");
    drop(running);

    let folder = tempfile::tempdir().unwrap();
    let id = issued(folder.path(), Channel::Phone, "01012345678").await;
    let running = Running(serve(folder.path()).spawn().expect("haksa starts"));
    let error = first_error(folder.path(), id).await;
    assert!(error.contains("SSL_CERT_FILE") && error.contains("sms.url"), "{error}");
    drop(running);
    assert_eq!(status(folder.path(), id).await, "waiting");
    assert_eq!(gateway.rest().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_is_encrypted_where_it_should_be() {
    let files = tempfile::tempdir().unwrap();
    let (authority, certificate) = certificate(files.path());
    let certificate = certificate.to_str().unwrap();
    let account = ["--account", "haksa", "demo-password"];
    for (url, arguments) in [
        ("smtps://localhost", vec!["--tls", "implicit", certificate]),
        (
            "smtp://haksa:demo-password@localhost",
            [&account[..], &["--tls", "starttls", certificate]].concat(),
        ),
    ] {
        let mut mails = MailServer::start_with(0, &arguments).await;
        let query = if url.starts_with("smtps") { "" } else { "?tls=required" };
        let url = format!("{url}:{}{query}", mails.port);
        let folder = tempfile::tempdir().unwrap();
        issued(folder.path(), Channel::Email, "hong@example.com").await;
        let running = serve_with(folder.path(), &url, &authority);
        let mail = mails.next().await;
        assert_eq!(mail["is_encrypted"], true, "{url}");
        assert_eq!(mail["is_signed_in"], !query.is_empty(), "{url}");
        drop(running);

        // A certificate that nobody here vouches for is as good as no server.
        let folder = tempfile::tempdir().unwrap();
        let id = issued(folder.path(), Channel::Email, "hong@example.com").await;
        let running = serve_with(folder.path(), &url, Path::new(""));
        let error = first_error(folder.path(), id).await;
        let words = "the certificate of localhost is refused: nobody whom this machine trusts has signed it";
        assert!(error.starts_with(words), "{error}");
        assert!(error.contains("SSL_CERT_FILE") && error.contains("mail.url"), "{error}");
        drop(running);
        assert_eq!(status(folder.path(), id).await, "waiting");
        assert_eq!(mails.rest().len(), 0, "{url}");
    }
}

/// As many relays within a house do, and as `openssl req -x509` makes it: it says that it may sign others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_signs_itself_is_trusted_where_it_is_named() {
    let files = tempfile::tempdir().unwrap();
    let (long, over) = ("21000101000000Z", "20200102000000Z");
    let (own, both) = self_signed(files.path(), "own", "localhost", long);
    let (other, _) = self_signed(files.path(), "other", "localhost", long);
    let (elsewhere, both_elsewhere) = self_signed(files.path(), "elsewhere", "mail.example", long);
    let (old, both_old) = self_signed(files.path(), "old", "localhost", over);
    let untrusted = "nobody whom this machine trusts has signed it; name a file with it, or with its signer's, \
                     in SSL_CERT_FILE, or another server in mail.url";
    for mode in ["implicit", "starttls"] {
        for (shown, trusted, fault) in [
            (&both, &own, None),
            (&both, &other, Some(untrusted)),
            (
                &both_elsewhere,
                &elsewhere,
                Some("mail.url must name the server as its certificate does"),
            ),
            (&both_old, &old, Some("the server needs a new one, or this machine's clock is wrong")),
        ] {
            let shown = shown.to_str().unwrap();
            let mut mails = MailServer::start_with(0, &["--tls", mode, shown]).await;
            let url = match mode {
                "implicit" => format!("smtps://localhost:{}", mails.port),
                _ => format!("smtp://localhost:{}?tls=required", mails.port),
            };
            let folder = tempfile::tempdir().unwrap();
            let id = issued(folder.path(), Channel::Email, "hong@example.com").await;
            let running = serve_with(folder.path(), &url, trusted);
            if let Some(fault) = fault {
                let error = first_error(folder.path(), id).await;
                assert!(error.contains(fault), "{mode} {shown}: {error}");
                assert_eq!(mails.rest().len(), 0, "{mode} {shown}");
            } else {
                assert_eq!(mails.next().await["is_encrypted"], true, "{mode}");
            }
            drop(running);
        }
    }
}
