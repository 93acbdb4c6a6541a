//! A real SMTP server, `tests/support/mail_server.py`, as a child process.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use haksa::config::Config;
use haksa::vault::Secret;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A running server; dropping it kills it.
pub(super) struct MailServer {
    child: Child,
    /// Where it listens.
    pub port: u64,
    mails: mpsc::UnboundedReceiver<Value>,
    /// Where it keeps them.
    kept: Option<PathBuf>,
}

fn python(program: &str) -> Command {
    let support = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support");
    let mut command = Command::new(support.join("python"));
    command.arg(support.join(program));
    command
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            self.rest();
        }
    }
}

impl MailServer {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        Self::start_with(0, &[]).await
    }

    /// Starts one on a port, with more arguments.
    pub async fn start_with(port: u64, arguments: &[&str]) -> Self {
        let port = port.to_string();
        Self::run("mail_server.py", &[&[port.as_str()], arguments].concat()).await
    }

    /// Starts a gateway for text messages behind TLS, which tells of them in the same way.
    pub async fn gateway(certificate: &str) -> Self {
        Self::run("gateway.py", &[certificate]).await
    }

    /// Starts one that keeps its mails in a folder.
    pub async fn keeping(folder: &Path) -> Self {
        let mut command = python("mail_server.py");
        command.arg("0").env("TEST_MAILS", folder);
        let mut server = Self::spawn(command).await;
        server.kept = Some(folder.to_owned());
        server
    }

    /// What a spam filter says to those that were kept.
    pub async fn judged(self) -> String {
        let kept = self.kept.as_ref().expect("they were kept");
        let mut command = python("mails.py");
        for file in std::fs::read_dir(kept).expect("the folder") {
            let file = file.expect("a file").path();
            if file.extension().is_some_and(|extension| extension == "mbox") {
                command.arg(file);
            }
        }
        let output = tokio::task::spawn_blocking(move || command.output()).await;
        let output = output.expect("no panic").expect("python runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    }

    async fn run(program: &str, arguments: &[&str]) -> Self {
        let mut command = python(program);
        command.args(arguments);
        Self::spawn(command).await
    }

    async fn spawn(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python starts");
        let output = BufReader::new(child.stdout.take().expect("standard output"));
        let (say, mut mails) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).expect("a line of JSON");
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        let ready = timeout(Duration::from_secs(20), mails.recv()).await;
        let ready = ready.expect("in time").expect("it is ready; scripts/install brings it");
        Self { child, port: ready["port"].as_u64().expect("a port"), mails, kept: None }
    }

    /// A configuration that leads to it.
    pub fn config(&self) -> Config {
        self.config_with("")
    }

    /// The same, with `user:password@`.
    pub fn config_with(&self, account: &str) -> Config {
        let mut config = Config::default();
        config.mail.url = Some(Secret::new(format!("smtp://{account}127.0.0.1:{}", self.port)));
        config.mail.from = Some("한빛학원 <cert@hanbit.example>".to_owned());
        config
    }

    /// The next mail that it was given.
    pub async fn next(&mut self) -> Value {
        let mail = timeout(Duration::from_secs(15), self.mails.recv()).await;
        sound(mail.expect("a mail in time").expect("the server runs"))
    }

    /// The mails that it was given and that nobody has asked for.
    pub fn rest(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.mails.try_recv().ok()).map(sound).collect()
    }
}

/// A mail in which a strict parser finds no fault.
fn sound(mail: Value) -> Value {
    let faults = mail["faults"].as_array().map_or(0, Vec::len);
    assert_eq!(faults, 0, "{} in {}", mail["faults"], mail["raw"]);
    mail
}
