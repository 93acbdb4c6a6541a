//! How a server starts, what it prints, and how it stops.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{HAKSA, Running, assert_said, demo};

/// What design allows for a stop, and something for a busy machine.
const STOP_WITHIN: Duration = Duration::from_secs(14);

#[test]
fn a_stop_does_not_wait_for_clients_that_do_not_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut running, ready) = demo(folder.path());
    let address = ready["base_url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let send = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
        // A server that is not read from stops to read.
        let _ = stream.write_all(bytes);
        stream
    };
    let head = "GET /openapi/partner.json HTTP/1.1\r\nhost: haksa\r\n";
    let patch = "PATCH /open-api/achievements/1539 HTTP/1.1\r\nhost: haksa\r\n\
                 authorization: Bearer demo-kolleges-key\r\ncontent-length: 100\r\n\r\n{";
    let _idle = send(b"");
    let _unread = send(format!("{head}\r\n").repeat(400).as_bytes());
    let _half_head = send(head.as_bytes());
    let _half_body = send(patch.as_bytes());
    std::thread::sleep(Duration::from_millis(300));
    running.signal("TERM");
    let told = Instant::now();
    let status = loop {
        if let Some(status) = running.0.try_wait().expect("its state") {
            break status;
        }
        assert!(told.elapsed() < STOP_WITHIN, "it still runs");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(status.code(), Some(0));
}

/// Starts `haksa demo` and gives the commands that it prints.
fn commands(arguments: &[&str]) -> (Running, Vec<String>) {
    let mut child = Command::new(HAKSA)
        .args(["demo", "--listen", "127.0.0.1:0"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("haksa starts");
    let output = BufReader::new(child.stdout.take().expect("standard output"));
    let running = Running(child);
    let mut commands: Vec<String> = Vec::new();
    for line in output.lines().map(|line| line.expect("a line")) {
        if line.starts_with("# ") {
            commands.push(String::new());
        } else if line.starts_with("API documentation") {
            break;
        } else if let Some(command) = commands.last_mut() {
            command.push_str(&line);
            command.push('\n');
        }
    }
    (running, commands)
}

#[test]
fn the_printed_commands_work_whatever_the_clock_says() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(".curlrc"), "silent\nwrite-out = \"\\n%{http_code}\"\n")
        .expect("a file");
    for arguments in [&[][..], &["--clock", "2026-04-23T09:15:30.123456Z"]] {
        let (_running, commands) = commands(arguments);
        assert_eq!(commands.len(), 5);
        for command in commands {
            let output = Command::new("bash")
                .args(["-c", &command])
                .env("CURL_HOME", folder.path())
                .output()
                .expect("bash runs");
            let answer = String::from_utf8_lossy(&output.stdout);
            assert!(answer.ends_with("\n200"), "{command}: {answer}");
        }
    }
}

#[test]
fn variables_are_read_as_people_write_them() {
    let run = |variables: &[(&str, &str)]| {
        let mut command = Command::new(HAKSA);
        command.arg("serve").envs(variables.iter().copied());
        command.output().expect("haksa runs")
    };
    for value in ["1", "0", "true", "false", "yes", ""] {
        assert_said(&run(&[("HAKSA_SOLAPI_HMAC_MD5", value)]), 2, "which database?");
    }
    assert_said(&run(&[("HAKSA_SOLAPI_HMAC_MD5", "2")]), 2, "invalid value '2'");
    // Set to nothing is as good as not set.
    for name in ["HAKSA_DATABASE", "HAKSA_CONFIG", "HAKSA_KOLLEGES_UNKNOWN_FIELDS", "HAKSA_LOG"] {
        assert_said(&run(&[(name, "")]), 2, "which database?");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}", folder.path().join("haksa.db").display());
    let mut child = Command::new(HAKSA)
        .args(["serve", "--database", &database])
        .envs([("HAKSA_LISTEN", ""), ("HAKSA_MASTER_KEY_FILE", ""), ("HAKSA_MASTER_KEY", "")])
        .stderr(Stdio::piped())
        .spawn()
        .expect("haksa starts");
    let output = BufReader::new(child.stderr.take().expect("standard error"));
    let _running = Running(child);
    // It serves at the usual address, or says that somebody else does.
    let line = output
        .lines()
        .map(|line| line.expect("a line"))
        .find(|line| line.contains("127.0.0.1:8080"));
    assert!(line.is_some());
    assert!(folder.path().join("master.key").exists());
}
