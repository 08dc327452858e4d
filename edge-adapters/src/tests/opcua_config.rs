//! The keys of an OPC-UA server: what is taken, and that each mistake is named with what was expected.

use std::fmt::Write as _;
use std::time::Duration;

use super::support::Log;
use crate::adapter::Source as _;
use crate::config::{ConfigError, sources};
use crate::opcua::items::{Filter, say_unfiltered};
use crate::opcua::security::{Mode as SecurityMode, Policy, User};
use crate::opcua::{Mode, OpcUa};
use crate::secret::SecretFile;

const STREAM: &str = "[[device.stream]]\nname = \"level\"\nnode = \"nsu=urn:filler;s=Level\"\n";

fn table(lines: &str, stream: &str) -> String {
    format!(
        "[[device]]\nname = \"filler\"\nprotocol = \"opcua\"\naddress = \"opc.tcp://10.0.0.7\"\n{lines}\n{STREAM}{stream}\n"
    )
}

fn read(text: &str) -> OpcUa {
    let sources = sources(text).unwrap_or_else(|errors| panic!("{errors:#?}"));
    sources[0].as_any().downcast_ref::<OpcUa>().expect("an OPC-UA server").clone()
}

fn wrong(text: &str) -> Vec<ConfigError> {
    match sources(text) {
        Ok(_) => panic!("it was taken: {text}"),
        Err(errors) => errors,
    }
}

#[test]
fn what_is_not_written_has_its_usual_value() {
    let server = read(&table("", ""));
    assert_eq!(server.connect.dial.host_and_port, "10.0.0.7:4840");
    assert!(!server.connect.security.is_secured());
    assert_eq!(server.connect.user, User::Anonymous);
    let Mode::Subscribe(wish) = server.mode else { panic!("{:?}", server.mode) };
    assert_eq!(wish.publishing, Duration::from_secs(1));
    assert!(wish.keep_for >= wish.keep_alive * 3);
    let item = &server.items[0];
    assert_eq!((item.sampling, item.queue_size, item.discard_oldest, item.filter), (None, 100, true, None));
    assert_eq!(server.streams[0].descriptor.address, "opcua opc.tcp://10.0.0.7 nsu=urn:filler;s=Level");
}

#[test]
fn everything_that_may_be_written_is_taken() {
    let lines = "security = \"Aes256_Sha256_RsaPss/Sign\"\nuser = \"gateway\"\npassword_file = \"credential:plc\"\n\
                 server_thumbprints = [\"AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD\"]\n\
                 publishing_interval = \"200ms\"\nkeep_alive = \"5s\"\nkeep_for = \"1h\"\ncheck_interval = \"10s\"\n\
                 timeout = \"2s\"\npki = \"/var/lib/selvedge/pki\"\napplication_uri = \"urn:plant7:gateway\"";
    let stream = "sampling_interval = \"0ms\"\nqueue_size = 5\ndiscard_oldest = false\ndeadband = 0.5\nscale = 0.1\n\
                  [device.stream.write]\nmin = 0\nmax = 5\nmethod = \"ns=2;i=7\"\nobject = \"i=85\"";
    let server = read(&table(lines, stream));
    let security = server.connect.security;
    assert_eq!((security.policy, security.mode), (Policy::Aes256Sha256RsaPss, SecurityMode::Sign));
    let User::Password { password, plain: false, .. } = &server.connect.user else { panic!() };
    assert_eq!(password, &SecretFile::Credential("plc".to_owned()));
    assert_eq!(server.connect.pki.thumbprints, ["aabbccddeeff00112233445566778899aabbccdd"]);
    let item = &server.items[0];
    assert_eq!((item.sampling, item.queue_size, item.discard_oldest), (Some(Duration::ZERO), 5, false));
    // In raw values, which are ten times the scaled ones.
    assert_eq!(item.filter, Some(Filter::Absolute(5.0)));
    assert_eq!(server.calls[0].as_ref().expect("a method").object.to_string(), "i=85");
}

#[test]
fn a_server_leaves_nothing_out_that_the_gateway_would_report() {
    for more in ["max_silence = \"1min\"", "min_interval = \"5s\"", "index = 2"] {
        assert_eq!(read(&table("", &format!("deadband = 1\n{more}"))).items[0].filter, None, "{more}");
    }
    assert_eq!(
        read(&table("", "deadband_percent = 1")).items[0].filter,
        None,
        "of the value, which servers do not know"
    );
    let percent = read(&table("", "deadband_range_percent = 2"));
    assert_eq!(percent.items[0].filter, Some(Filter::PercentOfRange(2.0)));
}

/// Where a server refuses a deadband the log said for all that "the gateway's own is used", and of a range it has none: a year
/// later somebody wonders why the ledger holds each flicker of a node.
#[test]
fn of_a_percentage_that_nobody_keeps_the_truth_is_said() {
    let own = read(&table("", "deadband = 1")).items[0].clone();
    let percent = read(&table("", "deadband_range_percent = 1")).items[0].clone();
    let items = [own, percent];
    for (unfiltered, of_gateway, of_nobody) in [(&[0][..], 1, 0), (&[1], 0, 1), (&[0, 1], 1, 1), (&[], 0, 0)]
    {
        let (log, _guard) = Log::listen();
        say_unfiltered(&items, unfiltered);
        assert_eq!(log.lines_with("the gateway's own is used"), of_gateway, "{unfiltered:?}");
        assert_eq!(log.lines_with("each change is recorded"), of_nobody, "{unfiltered:?}");
    }
}

#[test]
fn each_mistake_is_named_with_its_line_and_what_was_expected() {
    for (lines, stream, key, expected) in [
        ("security = \"Basic256/Sign\"", "", "security", "Basic256Sha256/Sign"),
        ("security = \"Basic256Sha256\"", "", "security", "Basic256Sha256/Sign"),
        ("user = \"a\"", "", "password_file", "since there is `user`"),
        ("password_file = \"x\"", "", "user", "since there is `password_file`"),
        ("user_key = \"x\"", "", "user_certificate", "since there is `user_key`"),
        ("server_thumbprints = [\"12\"]", "", "server_thumbprints", "40 hexadecimal"),
        ("mode = \"poll\"\nkeep_alive = \"1s\"", "", "keep_alive", "poll"),
        ("poll_interval = \"1s\"", "", "poll_interval", "subscribe"),
        // Only a subscription has these. They were taken in silence, and did nothing.
        ("mode = \"poll\"\ncheck_interval = \"1s\"", "", "check_interval", "poll"),
        ("mode = \"poll\"", "sampling_interval = \"1s\"", "sampling_interval", "poll"),
        ("mode = \"poll\"", "queue_size = 5", "queue_size", "poll"),
        ("mode = \"poll\"", "discard_oldest = false", "discard_oldest", "poll"),
        ("mode = \"poll\"", "deadband_range_percent = 1", "deadband_range_percent", "poll"),
        ("publishing_interval = \"20s\"\nkeep_alive = \"10s\"", "", "keep_alive", "publishing_interval"),
        ("keep_alive = \"1min\"\nkeep_for = \"1min\"", "", "keep_for", "three times"),
        ("application_uri = \"gateway\"", "", "application_uri", "urn:"),
        ("publishing_intervall = \"1s\"", "", "publishing_intervall", "publishing_interval"),
        ("", "queue_size = 0", "queue_size", "1 to 100000"),
        ("", "index = -1", "index", "0 to"),
        ("", "deadband = 1\ndeadband_range_percent = 1", "deadband_range_percent", "without"),
        ("", "deadband_range_percent = 101", "deadband_range_percent", "0 to 100"),
        ("", "[device.stream.write]\nmin = 0\nmax = 1\nmethod = \"i=1\"", "write.object", "the object"),
        (
            "",
            "[device.stream.write]\nmin = 0\nmax = 1\nmethod = \"7\"\nobject = \"i=1\"",
            "write.method",
            "i=NUMBER",
        ),
    ] {
        let errors = wrong(&table(lines, stream));
        let found = errors.iter().find(|error| error.key == key);
        let found = found.unwrap_or_else(|| panic!("{lines} {stream}: {errors:#?}"));
        assert!(found.expected.contains(expected), "{lines} {stream}: {found}");
        assert!(found.line.is_some(), "{found}");
    }
    for address in [
        "10.0.0.7:4840",
        "opc.tcp://",
        "opc.tcp://plc:0",
        "http://plc",
        "opc.tcp://a b",
        "opc.tcp://plc:99999/x",
    ] {
        let text = table("", "").replace("opc.tcp://10.0.0.7", address);
        assert!(wrong(&text).iter().any(|error| error.key == "address"), "{address}");
    }
    for node in ["Level", "ns=2", "nsu=;i=1", "i=x"] {
        let text = table("", "").replace("nsu=urn:filler;s=Level", node);
        assert!(wrong(&text).iter().any(|error| error.key == "node"), "{node}");
    }
}

#[test]
fn nothing_that_is_shown_holds_a_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("password");
    std::fs::write(&file, "s3cret").expect("to write it");
    let mut lines = String::new();
    let _ = writeln!(lines, "user = \"a\"\npassword_file = {file:?}");
    let server = read(&table(&lines, ""));
    assert!(!format!("{server:?}").contains("s3cret"));
}

/// Story: the key of the plant's user lay in a file that every user of the gateway could read, as `openssl` leaves it. The check
/// looked at passwords only.
#[cfg(unix)]
#[test]
fn a_user_key_that_every_user_may_read_is_named_as_a_password_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("user.key");
    std::fs::write(&file, "a key").expect("a file");
    for lines in ["user_certificate = \"eva.pem\"\nuser_key", "user = \"eva\"\npassword_file"] {
        let source = read(&table(&format!("{lines} = \"{}\"", file.display()), ""));
        for (mode, warnings) in [(0o644, 1), (0o640, 0), (0o600, 0)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("a mode");
            let (log, _guard) = Log::listen();
            drop(source.build());
            assert_eq!(log.lines_with("every user of this machine may read"), warnings, "{lines} {mode:o}");
            assert_eq!(log.lines_with("user.key: chmod 600"), warnings);
        }
    }
    let credential = read(&table("user_certificate = \"eva.pem\"\nuser_key = \"credential:eva\"", ""));
    let User::Certificate { key, .. } = &credential.connect.user else { panic!("{credential:?}") };
    assert_eq!(*key, SecretFile::Credential("eva".into()));
}
