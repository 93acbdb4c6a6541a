//! What `--help` shows is true.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::{HAKSA, Running, haksa, text};

/// Commands in an order in which each finds what its example needs.
const ORDER: [&str; 18] = [
    "openapi",
    "demo",
    "",
    "migrate",
    "serve",
    "account create",
    "account list",
    "account",
    "person create",
    "undo",
    "person",
    "person password",
    "history",
    "credential create",
    "credential list",
    "credential",
    "credential revoke",
    "check",
];

/// Every command with the example of its help.
fn examples(command: &str, found: &mut BTreeMap<String, String>) {
    let arguments: Vec<&str> = command.split(' ').filter(|word| !word.is_empty()).collect();
    let help = text(&haksa(&[&arguments[..], &["--help"]].concat()));
    let shown: Vec<&str> = help.split("Example:\n").skip(1).collect();
    assert_eq!(shown.len(), 1, "haksa {command}: {help}");
    let example = shown[0].lines().next().expect("a line").trim().to_owned();
    assert!(example.starts_with(&format!("haksa {command}")), "haksa {command}: {example}");
    found.insert(command.to_owned(), example);
    let listed = help.split_once("Commands:\n").map_or("", |(_, listed)| listed);
    for line in listed.lines().take_while(|line| line.starts_with("  ")) {
        let name = line.split_whitespace().next().filter(|_| !line.starts_with("   "));
        if let Some(name) = name.filter(|name| *name != "help") {
            examples(format!("{command} {name}").trim(), found);
        }
    }
}

fn shell(line: &str, folder: &Path) -> Command {
    let programs = Path::new(HAKSA).parent().expect("a folder").display().to_string();
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(folder);
    command.env("PATH", format!("{programs}:/usr/bin:/bin"));
    // Where the example says nothing of it.
    command.env("HAKSA_LISTEN", "127.0.0.1:0");
    command
}

/// Starts a server, waits until it serves, and tells it to stop.
fn serves(line: &str, folder: &Path) -> Output {
    let line = format!("exec {}", line.replace(":8080", ":0"));
    let log = folder.join("log");
    let out = || std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("a file");
    let mut command = shell(&line, folder);
    let child = command.stdout(out()).stderr(out()).stdin(Stdio::null()).spawn();
    let mut running = Running(child.expect("sh runs"));
    let begun = Instant::now();
    loop {
        let said = std::fs::read_to_string(&log).expect("the log");
        if said.contains("serving") || said.contains("Stop with Ctrl-C") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{line}: {said}");
        std::thread::sleep(Duration::from_millis(20));
    }
    running.signal("TERM");
    let status = running.0.wait().expect("it ends");
    let stdout = std::fs::read(&log).expect("the log");
    std::fs::remove_file(&log).expect("the log goes");
    Output { status, stdout, stderr: Vec::new() }
}

#[test]
fn every_command_shows_an_example_that_works() {
    let mut found = BTreeMap::new();
    examples("", &mut found);
    let mut ordered = ORDER;
    ordered.sort_unstable();
    assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), ordered);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("password.txt"), "demo-password\n").expect("a file");
    let run = |line: &str| {
        let is_server = line.starts_with("haksa demo") || line.starts_with("haksa serve");
        let output = if is_server {
            serves(line, folder.path())
        } else {
            shell(line, folder.path()).output().expect("sh runs")
        };
        assert_eq!(output.status.code(), Some(0), "{line}: {}", text(&output));
    };
    for command in ORDER {
        run(&found[command]);
        if command == "undo" {
            // The next ones need what it took back.
            run(&found["undo"].replace("undo 2", "undo 3"));
        }
    }
}

/// The switches of experiments are in programs built for them alone.
#[test]
#[cfg(not(feature = "sabotage"))]
fn nothing_can_be_switched_off() {
    let program = std::fs::read(HAKSA).expect("the program");
    let has = |text: &str| memchr::memmem::find(&program, text.as_bytes()).is_some();
    assert!(has("HAKSA_LOG"), "it would be found");
    for text in ["HAKSA_SABOTAGE", "HAKSA_STUMBLE", "a protection is off", "stumbles"] {
        assert!(!has(text), "{text}");
    }
}
