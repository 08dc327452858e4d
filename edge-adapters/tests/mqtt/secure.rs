//! TLS and passwords: who is let in, who is not and is told why, and that nothing secret is shown.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use edge_adapters::{Clock, DeviceState, SystemClock, Trial, config};
use selvedge_core::reading::Value;

use crate::broker::{Broker, certificates};
use crate::rig::{Rig, numbers};
use crate::support::program;

const TLS: &str =
    "allow_anonymous true\ncafile FOLDER/ca.pem\ncertfile FOLDER/SERVER.pem\nkeyfile FOLDER/SERVER.key\n";

fn secured(server: &str, more: &str) -> Broker {
    Broker::with_files(&(TLS.replace("SERVER", server) + more), certificates)
}

fn device(broker: &Broker, version: &str, tables: &str) -> String {
    let tables = tables.replace("FOLDER", broker.folder.path().to_str().expect("UTF-8"));
    format!(
        "[[device]]\nname = \"broker\"\nprotocol = \"mqtt\"\naddress = \"127.0.0.1:{}\"\nversion = \"{version}\"\n{tables}\n\
         [[device.stream]]\nname = \"count\"\ntopic = \"plant/count\"\ntype = \"u64\"\n",
        broker.port
    )
}

fn publish(broker: &Broker, payload: &str) {
    let path = |name: &str| broker.path(name).to_str().expect("UTF-8").to_owned();
    let (ca, certificate, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    broker.publish("plant/count", 1, payload, &["--cafile", &ca, "--cert", &certificate, "--key", &key]);
}

const CA: &str = "[device.tls]\nca_file = \"FOLDER/ca.pem\"\n";
const CLIENT: &str = "certificate_file = \"FOLDER/client.pem\"\nkey_file = \"FOLDER/client.key\"\n";

#[tokio::test]
async fn with_tls_values_come_in_both_versions() {
    let broker = secured("server", "");
    for version in ["3.1.1", "5"] {
        let mut rig = Rig::start(&device(&broker, version, CA));
        rig.is(DeviceState::Up).await;
        publish(&broker, "7");
        assert_eq!(rig.has(0, 1).await, numbers(7..8), "{version}");
    }
}

#[tokio::test]
async fn with_tls_1_2_only_values_come_too() {
    let broker = secured("server", "tls_version tlsv1.2\n");
    let mut rig = Rig::start(&device(&broker, "3.1.1", CA));
    rig.is(DeviceState::Up).await;
    publish(&broker, "7");
    assert_eq!(rig.has(0, 1).await, numbers(7..8));
}

#[tokio::test]
async fn a_broker_that_wants_a_certificate_lets_in_who_has_one_and_the_others_are_told() {
    let broker = secured("server", "require_certificate true\n");
    let mut rig = Rig::start(&device(&broker, "5", &format!("{CA}{CLIENT}")));
    rig.is(DeviceState::Up).await;
    publish(&broker, "7");
    assert_eq!(rig.has(0, 1).await, numbers(7..8));
    let mut without = Rig::start(&device(&broker, "5", &format!("client_id = \"without\"\n{CA}")));
    without.is_down("set certificate_file and key_file").await;
    let stranger = CLIENT.replace("client.", "stranger.");
    let mut stranger =
        Rig::start(&device(&broker, "5", &format!("client_id = \"stranger\"\n{CA}{stranger}")));
    stranger.is_down("does not trust this client's certificate").await;
    let mixed = "certificate_file = \"FOLDER/client.pem\"\nkey_file = \"FOLDER/server.key\"\n";
    let mut mixed = Rig::start(&device(&broker, "5", &format!("client_id = \"mixed\"\n{CA}{mixed}")));
    mixed.is_down("do not go together").await;
}

/// The files are read at each connection: whoever puts the right one there needs no restart.
#[tokio::test]
async fn a_broker_of_an_unknown_authority_is_refused_until_its_certificate_is_there() {
    let broker = secured("server", "");
    let trusted = broker.path("trusted.pem");
    std::fs::copy(broker.path("other-ca.pem"), &trusted).expect("a copy");
    let mut rig = Rig::start(&device(&broker, "3.1.1", "[device.tls]\nca_file = \"FOLDER/trusted.pem\"\n"));
    rig.is_down("no authority that is trusted").await;
    std::fs::remove_file(&trusted).expect("it is there");
    rig.is_down("trusted.pem: cannot be read").await;
    std::fs::copy(broker.path("ca.pem"), &trusted).expect("a copy");
    rig.is(DeviceState::Up).await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_named() {
    let broker = secured("expired", "");
    let mut rig = Rig::start(&device(&broker, "3.1.1", CA));
    let why = rig.is_down("has expired").await;
    assert!(why.contains("renew it there"), "{why}");
    assert_eq!(rig.device().connections, 0);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_unless_that_name_is_asked_for() {
    let broker = secured("named", "");
    let mut rig = Rig::start(&device(&broker, "3.1.1", CA));
    rig.is_down("is for another name").await;
    let named = format!("client_id = \"named\"\n{CA}server_name = \"broker.plant.example\"\n");
    let mut rig = Rig::start(&device(&broker, "3.1.1", &named));
    rig.is(DeviceState::Up).await;
}

#[tokio::test]
async fn a_port_with_tls_and_one_without_are_told_apart() {
    let broker = secured("server", "");
    let mut plain = Rig::start(&device(&broker, "3.1.1", ""));
    plain.is_down("as one that expects TLS does").await;
    let open = Broker::with_files("allow_anonymous true\n", certificates);
    let mut tls = Rig::start(&device(&open, "3.1.1", CA));
    tls.is(DeviceState::Down).await;
    let why = tls.device().error.expect("a reason");
    assert!(why.contains("speak TLS"), "{why}");
}

fn with_password() -> Broker {
    Broker::with_files("allow_anonymous false\npassword_file FOLDER/passwords\n", |folder| {
        let passwords = folder.join("passwords");
        let done = std::process::Command::new(program("mosquitto_passwd"))
            .args(["-b", "-c", passwords.to_str().expect("UTF-8"), "gateway", "correct horse"])
            .output()
            .expect("mosquitto_passwd runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        secret(folder, "password", "wrong horse\n");
    })
}

fn secret(folder: &Path, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let file = folder.join(name);
    std::fs::write(&file, text).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
}

const LOGIN: &str = "user = \"gateway\"\npassword_file = \"FOLDER/password\"\n";

#[tokio::test]
async fn a_wrong_password_is_named_and_the_right_one_is_taken_without_a_restart() {
    for version in ["3.1.1", "5"] {
        let broker = with_password();
        let mut rig = Rig::start(&device(&broker, version, LOGIN));
        let why = rig.is_down("the broker refuses").await;
        assert!(why.contains("password"), "{version}: {why}");
        secret(broker.folder.path(), "password", "correct horse\n");
        rig.is(DeviceState::Up).await;
        let allowed = ["-u", "gateway", "-P", "correct horse"];
        broker.publish("plant/count", 1, "7", &allowed);
        assert_eq!(rig.has(0, 1).await, [Value::Unsigned(7)], "{version}");
    }
}

/// Lines of the log of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Neither the log at its most talkative, nor what `Debug` shows, nor the figures that `--json` prints hold a secret; and
/// one that others may read is named, with what to do.
#[tokio::test]
async fn nothing_secret_is_shown_and_what_others_may_read_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let broker = with_password();
    let file = broker.path("password");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    let toml = device(&broker, "5", LOGIN);
    let mut rig = Rig::start(&toml);
    rig.is_down("the broker refuses").await;
    std::fs::write(&file, "correct horse").expect("a file");
    rig.is(DeviceState::Up).await;
    let sources = config::sources(&toml).expect("right");
    let figures = serde_json::to_string(&rig.device()).expect("JSON");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let trial = Trial::start(Arc::clone(&sources[0]), std::time::Duration::ZERO, &clock);
    let shown = format!("{sources:?} {figures} {:?} {trial:?}", rig.device());
    let said = String::from_utf8_lossy(&log.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
    for secret in ["correct horse", "wrong horse"] {
        assert!(!shown.contains(secret) && !said.contains(secret), "{secret:?} is shown");
    }
    let warning = said.lines().find(|line| line.contains("every user of this machine may read"));
    assert!(warning.is_some_and(|line| line.contains("chmod 600") && line.contains("WARN")), "{said}");
}
