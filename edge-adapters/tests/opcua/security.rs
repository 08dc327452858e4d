//! Certificates, users, and that there is never less protection than was configured.

use std::fs;
use std::path::Path;
use std::process::Command;

use edge_adapters::{DeviceSnapshot, DeviceState};

use crate::plant::{Make, Plant, Reader};
use crate::support::program;

const LEVEL: &str = "Filler.Level";

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

fn says(snapshot: &DeviceSnapshot, what: &str) -> bool {
    snapshot.state == DeviceState::Down && snapshot.error.as_deref().unwrap_or("").contains(what)
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).map_or_else(|_| Vec::new(), |entries| entries.flatten().collect());
    entries.into_iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

async fn a_certificate_that_is_not_trusted_yet(make: Make) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut plant = Plant::start(make, &["--security", "basic256sha256"]);
    let lines = format!("security = \"Basic256Sha256/SignAndEncrypt\"\npki = {}", quoted(folder.path()));
    let mut reader = Reader::start(&plant.table(&lines, &[LEVEL]));
    let down = reader.until_state("not trusted", |s| says(s, "is not trusted")).await;
    let why = down.error.expect("why");
    let rejected = names_in(&folder.path().join("rejected"));
    assert_eq!(rejected.len(), 1, "{rejected:?}");
    assert!(why.contains(&rejected[0]) && why.contains("trusted"), "it says which file to move where: {why}");
    assert!(reader.seen.is_empty(), "{:?}", reader.seen);
    // What a person does then.
    let (from, to) =
        (folder.path().join("rejected").join(&rejected[0]), folder.path().join("trusted/plc.der"));
    fs::rename(from, to).expect("to move it");
    reader.good(LEVEL, Some(52.5)).await;
    let clients = plant.server.ask("clients");
    assert_eq!(
        clients["clients"].as_array().map(Vec::len),
        Some(1),
        "one certificate of this side: {clients}"
    );
    let own = fs::metadata(folder.path().join("private/private.pem")).expect("a key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&own.permissions());
    assert_eq!(mode & 0o777, 0o600, "nobody else reads the key");
    // The server changes its mind about this side.
    plant.server.command("reject");
    plant.server.command("drop");
    reader.until_state("refused", |s| s.state == DeviceState::Down).await;
    plant.server.command("trust");
    plant.server.command("set Filler.Level 11.5");
    reader.good(LEVEL, Some(11.5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_asyncua_is_rejected_and_then_trusted() {
    a_certificate_that_is_not_trusted_yet(Make::Asyncua).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_node_opcua_is_rejected_and_then_trusted() {
    a_certificate_that_is_not_trusted_yet(Make::Node).await;
}

/// The strongest policy, with a pinned certificate and a user: nothing lies in the folder of trusted ones.
async fn a_pinned_certificate_and_a_user(make: Make) {
    let folder = tempfile::tempdir().expect("a folder");
    let password = folder.path().join("password");
    fs::write(&password, "wrong\n").expect("to write it");
    let mut plant = Plant::start(make, &["--security", "aes256", "--user", "alice:s3cret-s3cret"]);
    let thumbprint = plant.said["thumbprint"].as_str().expect("a text").to_uppercase();
    let base = format!(
        "security = \"Aes256_Sha256_RsaPss/SignAndEncrypt\"\npki = {}\nserver_thumbprints = [\"{thumbprint}\"]",
        quoted(&folder.path().join("pki"))
    );
    let anonymous = Reader::start(&plant.table(&base, &[LEVEL]));
    let mut anonymous = anonymous;
    anonymous.until_state("anonymous is refused", |s| says(s, "anonymous")).await;
    drop(anonymous);
    let lines = format!("{base}\nuser = \"alice\"\npassword_file = {}", quoted(&password));
    let mut reader = Reader::start(&plant.table(&lines, &[LEVEL]));
    reader.until_state("the password is wrong", |s| says(s, "does not accept user")).await;
    fs::write(&password, "s3cret-s3cret\n").expect("to write it");
    reader.good(LEVEL, Some(52.5)).await;
    let shown =
        format!("{:?}", reader.snapshot()) + &serde_json::to_string(&reader.snapshot()).expect("JSON");
    assert!(!shown.contains("s3cret"), "{shown}");
    // The new password is asked for after each cut; and so is the certificate.
    plant.server.command("restart");
    plant.server.command("set Filler.Level 12.5");
    reader.good(LEVEL, Some(12.5)).await;
    assert!(names_in(&folder.path().join("pki/trusted")).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asyncua_is_pinned_and_takes_a_user_by_password() {
    a_pinned_certificate_and_a_user(Make::Asyncua).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_opcua_is_pinned_and_takes_a_user_by_password() {
    a_pinned_certificate_and_a_user(Make::Node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_never_less_protection_than_was_configured() {
    let folder = tempfile::tempdir().expect("a folder");
    let plant = Plant::start(Make::Asyncua, &["--user", "alice:s3cret"]);
    let pki = quoted(folder.path());
    let lines = format!("security = \"Basic256Sha256/SignAndEncrypt\"\npki = {pki}");
    let mut reader = Reader::start(&plant.table(&lines, &[LEVEL]));
    let down = reader.until_state("not offered", |s| says(s, "and not Basic256Sha256/SignAndEncrypt")).await;
    assert!(down.error.expect("why").contains("the server offers None"));
    drop(reader);
    let password = folder.path().join("password");
    fs::write(&password, "s3cret").expect("to write it");
    let lines = format!("pki = {pki}\nuser = \"alice\"\npassword_file = {}", quoted(&password));
    let mut reader = Reader::start(&plant.table(&lines, &[LEVEL]));
    let down = reader.until_state("not in plain", |s| says(s, "for everybody to read")).await;
    assert!(!down.error.expect("why").contains("s3cret"));
    drop(reader);
    let mut reader = Reader::start(&plant.table(&format!("{lines}\nplain_password = true"), &[LEVEL]));
    reader.good(LEVEL, Some(52.5)).await;
}

/// Keys of a device that trusts the certificate of this server alone.
fn pinned(plant: &Plant, security: &str, folder: &Path) -> String {
    let thumbprint = plant.said["thumbprint"].as_str().expect("a text");
    format!(
        "security = \"{security}\"\npki = {}\nserver_thumbprints = [\"{thumbprint}\"]\n",
        quoted(&folder.join("pki"))
    )
}

/// Signed and not encrypted, by each of the policies, with a password that is encrypted all the same; and never encrypted
/// where Sign was asked for, or the other way round.
async fn messages_are_signed_only(make: Make) {
    let folder = tempfile::tempdir().expect("a folder");
    let password = folder.path().join("password");
    fs::write(&password, "s3cret-s3cret\n").expect("to write it");
    let policies = "basic256sha256-sign,aes128-sign,aes256-sign";
    let plant = Plant::start(make, &["--security", policies, "--user", "alice:s3cret-s3cret"]);
    let user = format!("user = \"alice\"\npassword_file = {}\n", quoted(&password));
    for policy in ["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"] {
        let lines = pinned(&plant, &format!("{policy}/Sign"), folder.path()) + &user;
        let mut reader = Reader::start(&plant.table(&lines, &[LEVEL]));
        reader.good(LEVEL, Some(52.5)).await;
    }
    let lines = pinned(&plant, "Basic256Sha256/SignAndEncrypt", folder.path()) + &user;
    let mut reader = Reader::start(&plant.table(&lines, &[LEVEL]));
    let down = reader.until_state("not offered", |s| says(s, "and not Basic256Sha256/SignAndEncrypt")).await;
    assert!(down.error.expect("why").contains("Basic256Sha256/Sign"));
    assert!(reader.seen.is_empty(), "{:?}", reader.seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_asyncua_are_signed_only() {
    messages_are_signed_only(Make::Asyncua).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_node_opcua_are_signed_only() {
    messages_are_signed_only(Make::Node).await;
}

/// The certificate and the key of a user: `NAME.pem`, `NAME.der` and `NAME.key`.
fn user_certificate(folder: &Path, name: &str) {
    let openssl = |arguments: &[&str]| {
        let done = Command::new(program("openssl")).args(arguments).current_dir(folder).output();
        let done = done.expect("openssl runs");
        assert!(done.status.success(), "openssl: {}", String::from_utf8_lossy(&done.stderr));
    };
    let (key, pem, der) = (format!("{name}.key"), format!("{name}.pem"), format!("{name}.der"));
    let subject = format!("/CN={name}");
    let new =
        ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &subject, "-keyout", &key];
    openssl(&[&new[..], &["-out", &pem]].concat());
    openssl(&["x509", "-in", &pem, "-outform", "DER", "-out", &der]);
}

/// A person's certificate in place of a password, in a channel by the one policy that no other test uses. node-opcua names no
/// policy for the signature and means the channel's; async-opcua 0.19 takes that for none, and signs nothing.
async fn a_user_logs_in_with_a_certificate(make: Make) {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["eva", "mallory"] {
        user_certificate(folder.path(), name);
    }
    let at = |name: &str| folder.path().join(name);
    let trusted = at("eva.pem").display().to_string();
    let plant = Plant::start(make, &["--security", "aes128", "--user-certificate", &trusted]);
    let base = pinned(&plant, "Aes128_Sha256_RsaOaep/SignAndEncrypt", folder.path());
    let who = |certificate: &str, key: &str| {
        let (certificate, key) = (quoted(&at(certificate)), quoted(&at(key)));
        plant.table(&format!("{base}user_certificate = {certificate}\nuser_key = {key}\n"), &[LEVEL])
    };
    for form in ["eva.pem", "eva.der"] {
        let mut reader = Reader::start(&who(form, "eva.key"));
        reader.good(LEVEL, Some(52.5)).await;
    }
    // Another's certificate, and a certificate whose key this side does not have.
    for (certificate, key) in [("mallory.pem", "mallory.key"), ("eva.pem", "mallory.key")] {
        let mut reader = Reader::start(&who(certificate, key));
        let down = reader.until_state("refused", |s| s.state == DeviceState::Down && s.error.is_some()).await;
        let why = down.error.expect("why");
        assert!(why.contains("user_certificate"), "{certificate} with {key}: {why}");
        assert!(reader.seen.is_empty(), "{:?}", reader.seen);
    }
    let mut missing = Reader::start(&who("nobody.pem", "eva.key"));
    missing.until_state("no such file", |s| says(s, "user_certificate")).await;
    let mut anonymous = Reader::start(&plant.table(&base, &[LEVEL]));
    anonymous.until_state("anonymous is refused", |s| says(s, "anonymous")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_logs_in_to_asyncua_with_a_certificate() {
    a_user_logs_in_with_a_certificate(Make::Asyncua).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_logs_in_to_node_opcua_with_a_certificate() {
    a_user_logs_in_with_a_certificate(Make::Node).await;
}
