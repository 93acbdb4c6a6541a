//! Accounts and credentials at the command line.

use haksa::app::{App, Clock};
use haksa::config::Config;
use haksa::dialect::Dialect;
use haksa::domain::actor::Actor;
use haksa::domain::command::Create;
use haksa::domain::delivery::outbox::Outbox;
use haksa::domain::people::account::Account;
use haksa::domain::people::credential::Credential;
use haksa::domain::sign_in::tenant::{MainAccountRule, Tenant};
use haksa::pipeline::Envelope;
use haksa::vault::{MasterKey, Vault};
use serde_json::json;

use super::{Place, assert_said, demo, for_both_stores, haksa, text};
use crate::support::{Backend, Request};

for_both_stores!(
    names_that_are_taken_are_told,
    an_account_has_only_values_that_mean_something,
    an_ncloud_account_has_its_tenant,
    a_credential_has_only_values_that_mean_something,
    credentials_are_listed_as_they_are,
    a_credential_is_revoked_once,
    an_account_is_not_undone,
);

const NAMES: [(&str, &str); 4] = [
    ("--club-domain", "hanbit"),
    ("--ncloud-account-no", "2500009"),
    ("--solapi-account-id", "24010100009999"),
    ("--portal-url", "https://hanbit.example"),
];

/// The id that `haksa account create` printed.
fn account_of(created: &std::process::Output) -> i64 {
    let text = text(created);
    let id = text.lines().find_map(|line| line.strip_prefix("account "));
    id.unwrap_or_else(|| panic!("no account in {text}")).parse().expect("an id")
}

async fn names_that_are_taken_are_told(backend: Backend) {
    let place = Place::new(backend).await;
    let mut create = vec!["account", "create", "한빛학원", "--ncloud-tenant-alias", "hanbit"];
    create.extend(NAMES.iter().flat_map(|(option, value)| [*option, *value]));
    assert_said(&place.run(&create), 0, "account 1");
    for (option, value) in NAMES {
        let output = place.run(&["account", "create", "another", option, value]);
        let words = format!("{option} {value:?} is taken by account 1, see `haksa account list`");
        assert_said(&output, 2, &words);
    }
    let spelled = ["account", "create", "another", "--portal-url", "HTTP://Hanbit.example/"];
    assert_said(&place.run(&spelled), 2, "--portal-url \"https://hanbit.example\" is taken");
    let alias = ["account", "create", "another", "--ncloud-account-no", "1"];
    let alias = [&alias[..], &["--ncloud-tenant-alias", "hanbit"]].concat();
    assert_said(&place.run(&alias), 2, "--ncloud-tenant-alias \"hanbit\" is taken by account 1");

    let create = ["credential", "create", "--dialect", "kolleges", "--account"];
    let unknown = "there is no account 999; `haksa account list` lists them";
    assert_said(&place.run(&[&create[..], &["999"]].concat()), 2, unknown);
    assert_said(&place.run(&["credential", "list", "--account", "999"]), 2, unknown);
    let person = [&create[..], &["1", "--person", "77"]].concat();
    assert_said(&place.run(&person), 2, "account 1 has no person 77");
    assert_eq!(text(&place.run(&["credential", "list", "--account", "1"])), "");
}

async fn an_account_has_only_values_that_mean_something(backend: Backend) {
    let place = Place::new(backend).await;
    for (arguments, words) in [
        (&[""][..], "name must not be blank"),
        (&[" "], "name must not be blank"),
        (&["x", "--club-domain", ""], "club_domain must be one word"),
        (&["x", "--ncloud-account-no", "2 5"], "ncloud_account_no must be one word"),
        (&["x", "--solapi-account-id", ""], "solapi_account_id must be 14 digits"),
        (&["x", "--solapi-account-id", "2401010000123x"], "solapi_account_id must be 14 digits"),
        (&["x", "--portal-url", "notaurl"], "portal_url must be an address"),
        (&["x", "--portal-url", "ftp://acme.example"], "portal_url must be an address"),
        (&["x", "--time-zone", "Asia/Atlantis"], "time_zone must be an IANA time zone"),
        (&["x", "--ncloud-account-no", "1", "--ncloud-tenant-alias", "_"], "2 to 100 letters"),
        (&["x", "--ncloud-tenant-alias", "abc"], "--ncloud-account-no <NUMBER>"),
        (&["", "--portal-url", "x"], "name must not be blank; portal_url must be"),
    ] {
        let output = place.run(&[&["account", "create"], arguments].concat());
        assert_said(&output, 2, words);
    }
    // Clients write a portal's address in every way; it is kept in one.
    let portal = ["account", "create", "x", "--portal-url", "HTTPS://Acme.Example//"];
    let id = account_of(&place.run(&portal));
    let store = place.store().await;
    let account = store.read(|facts| facts.get::<Account>(id, id)).await.unwrap();
    assert_eq!(account.record.portal_url.as_deref(), Some("https://acme.example"));
}

async fn an_ncloud_account_has_its_tenant(backend: Backend) {
    let place = Place::new(backend).await;
    for (arguments, alias) in
        [(&["1"][..], None), (&["2", "--ncloud-tenant-alias", "Hanbit-2"], Some("Hanbit-2"))]
    {
        let create = ["account", "create", "한빛학원", "--ncloud-account-no"];
        let created = place.run(&[&create[..], arguments].concat());
        assert_said(&created, 0, "account ");
        let id = account_of(&created);
        let store = place.store().await;
        let tenants = store.read(|facts| facts.select::<Tenant>(id, "owner_id", id)).await.unwrap();
        let [tenant] = &tenants[..] else { panic!("{tenants:?}") };
        let key = tenant.meta.key.to_string();
        assert_eq!((key.len(), tenant.meta.account_id), (36, id));
        assert_eq!(tenant.record.alias, alias.unwrap_or(&key));
        assert_eq!(tenant.record.mbr_login_allow, MainAccountRule::Unused);
        // Both came in one commit.
        let changes = store.history(id, tenant.meta.change_id, 9, i64::MAX).await.unwrap();
        assert_eq!((changes.len(), changes[0].at), (1, tenant.meta.created_at));
    }
    let other = place.run(&["account", "create", "no tenant", "--club-domain", "x"]);
    assert_said(&other, 0, "account ");
    assert_said(&place.run(&["check"]), 0, "5 records, no faults");
}

async fn a_credential_has_only_values_that_mean_something(backend: Backend) {
    let place = Place::with_account(backend).await;
    for (arguments, words) in [
        (&["solapi"][..], "without a --policy may do nothing; there are OWNER, DEVELOPER, MEMBER"),
        (&["solapi", "--policy", "member"], "no policy \"member\"; there are OWNER, DEVELOPER"),
        (&["ncloud"], "without a --policy may do nothing; there are NCP_ADMINISTRATOR, "),
        (&["ncloud", "--policy", "NCP_FINANCE_MANAGER"], "change/updateApplication"),
        (&["native"], "without a --policy may do nothing"),
        (&["native", "--policy", "edit:nothing"], "no policy \"edit:nothing\"; there are * and"),
        (&["kolleges", "--policy", "*"], "take no --policy: they may do what their club may"),
        (&["partner", "--policy", "*"], "take no --policy"),
        (&["partner"], "partner credentials act as a person: name one with --person"),
        (&["ispring"], "ispring credentials act as a person"),
        (&["kolleges", "--expires-at", "2020-01-01T00:00:00Z"], "expires_at must not be in"),
    ] {
        let create = ["credential", "create", "--account", "1", "--dialect"];
        assert_said(&place.run(&[&create[..], arguments].concat()), 2, words);
    }
    assert_eq!(text(&place.run(&["credential", "list", "--account", "1"])), "");
    for arguments in [
        &["solapi", "--policy", "OWNER"][..],
        &["ncloud", "--policy", "view/getApplicationDetail", "--policy", "NCP_INFRA_MANAGER"],
        &["native", "--policy", "*:class"],
        &["kolleges"],
    ] {
        let create = ["credential", "create", "--account", "1", "--dialect"];
        assert_said(&place.run(&[&create[..], arguments].concat()), 0, "secret ");
    }
}

async fn credentials_are_listed_as_they_are(backend: Backend) {
    let place = Place::with_account(backend).await;
    let create = ["credential", "create", "--account", "1", "--dialect"];
    let create = |arguments: &[&str]| {
        assert_said(&place.run(&[&create[..], arguments].concat()), 0, "secret ");
    };
    create(&["native", "--policy", "read:*", "--policy", "edit:class", "--label", "both"]);
    create(&["kolleges", "--allowed-ip", "192.0.2.1", "--allowed-ip", "2001:db8::1"]);
    create(&["kolleges", "--expires-at", "2999-01-01T00:00:00Z"]);
    // One that was made long ago.
    let clock = Clock::frozen("2020-01-01T00:00:00Z".parse().unwrap());
    let vault = Vault::new(&MasterKey::from_bytes([7; 32]));
    let (app, running) =
        App::start(place.store().await, vault, clock, Outbox::default(), Config::default())
            .expect("a writer");
    let mut outlived = Credential::new(Dialect::Kolleges, "");
    outlived.expires_at = Some("2020-02-01T00:00:00Z".parse().unwrap());
    let envelope = Envelope::new(Actor::operator(1), "test");
    app.pipeline.run(Create::new(outlived), envelope).await.expect("a credential");
    drop(app);
    running.writer.join().await;
    let list = text(&place.run(&["credential", "list", "--account", "1"]));
    let expected = [
        "1  native  -  both  live  may read:*, edit:class",
        "2  kolleges  -    live  from 192.0.2.1, 2001:db8::1",
        "3  kolleges  -    live until 2999-01-01T00:00:00Z",
        "4  kolleges  -    expired at 2020-02-01T00:00:00Z",
    ];
    assert_eq!(list.lines().collect::<Vec<_>>(), expected);
}

async fn a_credential_is_revoked_once(backend: Backend) {
    let place = Place::with_account(backend).await;
    let create = ["credential", "create", "--account", "1", "--dialect", "kolleges"];
    assert_said(&place.run(&create), 0, "credential 1");
    assert_said(&place.run(&["credential", "revoke", "1"]), 0, "opens nothing any more");
    let list = text(&place.run(&["credential", "list", "--account", "1"]));
    let (_, at) = list.trim().rsplit_once(' ').expect("a time");
    let again = place.run(&["credential", "revoke", "1"]);
    assert_said(&again, 0, &format!("credential 1 was already revoked, at {at}"));
    assert_eq!(text(&place.run(&["credential", "list", "--account", "1"])), list);
    assert_said(&place.run(&["credential", "revoke", "2"]), 2, "there is no credential 2");
    let store = place.store().await;
    let stored = store.read(|facts| facts.get::<Credential>(1, 1)).await.unwrap();
    assert_eq!(stored.meta.version, 2);
}

async fn an_account_is_not_undone(backend: Backend) {
    let place = Place::new(backend).await;
    let create = ["account", "create", "한빛학원", "--club-domain", "hanbit"];
    assert_said(&place.run(&create), 0, "account 1");
    assert_said(&place.run(&["undo", "1"]), 2, "not undone: in the way: account");
    assert!(text(&place.run(&["account", "list"])).contains("한빛학원"));
}

#[test]
fn a_secret_that_cannot_be_told_is_not_passed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = format!("sqlite:{}", folder.path().join("haksa.db").display());
    assert_said(&haksa(&["account", "create", "x", "--database", &database]), 0, "account 1");
    let create = ["credential", "create", "--account", "1", "--dialect", "kolleges"];
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let output = std::process::Command::new(super::HAKSA)
        .args([&create[..], &["--database", &database]].concat())
        .stdout(full)
        .output()
        .expect("haksa runs");
    assert_said(&output, 2, "its secret could not be told and is lost; take it back with");
    // Who closed the pipe wants no more lines.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let list = std::process::Command::new(super::HAKSA)
        .args(["credential", "list", "--account", "1", "--database", &database])
        .stdout(writer)
        .output()
        .expect("haksa runs");
    assert_said(&list, 0, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ispring_credential_gets_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_running, ready) = demo(folder.path());
    let database = format!("sqlite:{}", folder.path().join("haksa.db").display());
    let create = ["credential", "create", "--account", "3", "--dialect", "ispring"];
    let create = [&create[..], &["--person", "311", "--database", &database]].concat();
    let created = text(&haksa(&create));
    let told = |name: &str| {
        let line = created.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {created}")).to_owned()
    };
    let (id, secret) = (told("id "), told("secret "));
    assert!(uuid::Uuid::try_parse(&id).is_ok(), "{id}");
    let address = ready["base_url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let body = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    let request = || {
        Request::to(address.parse().unwrap(), "POST", "/api/v3/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.clone())
            .send()
    };
    // The server notices what another process wrote within a moment.
    let mut reply = request().await;
    for _ in 0..20 {
        if reply.status == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        reply = request().await;
    }
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["token_type"], json!("bearer"));
    // Another account's person is nobody here.
    let foreign = ["credential", "create", "--account", "4", "--dialect", "ispring"];
    let foreign = [&foreign[..], &["--person", "311", "--database", &database]].concat();
    assert_said(&haksa(&foreign), 2, "account 4 has no person 311");
}
