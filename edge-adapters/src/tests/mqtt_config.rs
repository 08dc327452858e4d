//! `[[device]]` tables of the protocol `mqtt`.

use std::path::Path;
use std::time::Duration;

use super::support::{device, errors};
use crate::adapter::{Source, Start};
use crate::config::{self, sources};
use crate::mqtt::Mqtt;
use crate::mqtt::client::Version;
use crate::mqtt::memory::{Known, digest_of};
use crate::secret::SecretFile;
use selvedge_core::codec::Canonical as _;

fn toml(device: &str, stream: &str) -> String {
    format!(
        "[[device]]\nname = \"broker\"\nprotocol = \"mqtt\"\naddress = \"h:1883\"\n{device}\n[[device.stream]]\nname = \"s\"\n{stream}\n"
    )
}

const STREAM: &str = "topic = \"a/b\"\ntype = \"f64\"";

#[test]
fn a_template_gives_its_streams_with_their_descriptors() {
    let text = "[[device]]\nname = \"broker\"\nprotocol = \"mqtt\"\naddress = \"h:1883\"\nqos = 2\n\
                [[device.stream]]\nname = \"{machine}/temperature\"\ntopic = \"plant/{machine}/state\"\n\
                each = { machine = [\"filler\", \"capper\"] }\npointer = \"/t\"\ntype = \"f64\"\nunit = \"Cel\"\nscale = 0.1\n\
                [[device.stream]]\nname = \"filler/ok\"\ntopic = \"plant/filler/ok\"\ntype = \"bool\"\nurgent = true\n";
    let sources = sources(text).expect("right");
    let shown: Vec<_> = sources[0]
        .streams()
        .iter()
        .map(|s| {
            (
                s.descriptor.name.as_str(),
                s.descriptor.address.as_str(),
                s.descriptor.source_type.as_str(),
                s.urgent,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("filler/temperature", "mqtt h:1883 topic plant/filler/state /t", "json f64", false),
            ("capper/temperature", "mqtt h:1883 topic plant/capper/state /t", "json f64", false),
            ("filler/ok", "mqtt h:1883 topic plant/filler/ok", "text bool", true),
        ]
    );
    assert!(sources[0].streams().iter().all(|s| s.descriptor.check().is_ok()));
}

/// A stream with a `write` table.
fn written(keys: &str) -> String {
    format!("{STREAM}\n[device.stream.write]\nmin = 0\nmax = 1\n{keys}")
}

#[test]
fn everything_about_the_connection_and_writing_can_be_said() {
    let connection = "version = \"5\"\nsession_expiry = \"2h\"\nuser = \"gateway\"\npassword_file = \"credential:mqtt\"\n\
                      [device.tls]\nca_file = \"ca.pem\"\ncertificate_file = \"/c.pem\"\nkey_file = \"c.key\"\nserver_name = \"b\"\n\
                      [device.last_will]\ntopic = \"g/state\"\npayload = \"offline\"\n";
    let stream = "topic = \"plant/{m}/state\"\neach = { m = [\"1\", \"2\"] }\ntype = \"f64\"\n\
                  [device.stream.write]\nmin = 0\nmax = 1\ntopic = \"plant/{m}/set\"\nqos = 0\nretain = true\n\
                  payload = '{\"set\": {json}}'\nconfirm_within = \"2s\"";
    let text = toml(connection, stream).replace("name = \"s\"", "name = \"{m}/speed\"");
    let sources = crate::config::sources_in(std::path::Path::new("/etc/selvedge"), &text);
    let sources = sources.unwrap_or_else(|errors| panic!("{errors:#?}"));
    let mqtt = sources[0].as_any().downcast_ref::<Mqtt>().expect("a broker");
    assert_eq!((mqtt.version, mqtt.session_expiry), (Version::V5, Duration::from_hours(2)));
    assert_eq!(mqtt.password, Some(SecretFile::Credential("mqtt".into())));
    let tls = mqtt.tls.as_ref().expect("a table");
    assert_eq!(tls.ca_file.as_deref(), Some(Path::new("/etc/selvedge/ca.pem")), "from the file's folder");
    let key = SecretFile::Path("/etc/selvedge/c.key".into());
    assert_eq!(tls.identity, Some(("/c.pem".into(), key)));
    assert!(mqtt.will.as_ref().is_some_and(|will| will.retain && will.payload == b"offline"));
    let topics: Vec<_> = mqtt.commands.iter().flatten().map(|command| command.topic.as_str()).collect();
    assert_eq!(topics, ["plant/1/set", "plant/2/set"]);
    assert_eq!(mqtt.streams[1].descriptor.name, "2/speed");
    // A look keeps nothing at the broker, and says nothing to others.
    let look = sources[0].rehearsal().expect("a look");
    let look = look.as_any().downcast_ref::<Mqtt>().expect("a broker").options();
    assert!(look.clean_session && look.will.is_none());
}

#[test]
fn mistakes_name_their_key() {
    for (device, stream, key) in [
        ("unit_id = 1", STREAM, "unit_id"),
        ("poll_interval = \"1s\"", STREAM, "poll_interval"),
        ("qos = 3", STREAM, "qos"),
        ("keep_alive = \"10ms\"", STREAM, "keep_alive"),
        ("timeout = \"10ms\"", STREAM, "timeout"),
        ("max_packet_bytes = 10", STREAM, "max_packet_bytes"),
        ("client_id = \"\"", STREAM, "client_id"),
        ("", "type = \"f64\"", "topic"),
        ("", "topic = \"a/#/b\"\ntype = \"f64\"", "topic"),
        ("", "topic = \"a/{b}\"\ntype = \"f64\"", "each"),
        ("", "topic = \"a\"", "type"),
        ("", "topic = \"a\"\ntype = \"f32\"", "type"),
        ("", "topic = \"a\"\ntype = \"f64\"\nregister = \"holding:1\"", "register"),
        ("", "topic = \"a\"\ntype = \"f64\"\norder = \"AB\"", "order"),
        ("", "topic = \"a\"\ntype = \"f64\"\npointer = \"t\"", "pointer"),
        ("", "topic = \"a\"\ntype = \"f64\"\ntime = \"/a~2\"", "time"),
        ("", "topic = \"a\"\ntype = \"f64\"\nunit = \"°C\"", "unit"),
        ("", "topic = \"a\"\ntype = \"f64\"\nscale = 0", "scale"),
        ("version = \"4\"", STREAM, "version"),
        ("session_expiry = \"1h\"", STREAM, "session_expiry"),
        ("version = \"5\"\nsession_expiry = \"1s\"", STREAM, "session_expiry"),
        ("user = \"\"", STREAM, "user"),
        ("password_file = \"p\"", STREAM, "password_file"),
        ("user = \"u\"\npassword_file = \"credential:../p\"", STREAM, "password_file"),
        ("user = \"u\"\npassword_file = \"\"", STREAM, "password_file"),
        ("user = \"u\"\npassword = \"hunter2\"", STREAM, "password"),
        ("[device.tls]\nca = \"c\"", STREAM, "tls.ca"),
        ("[device.tls]\nca_file = \"\"", STREAM, "tls.ca_file"),
        ("[device.tls]\ncertificate_file = \"c\"", STREAM, "tls.certificate_file"),
        ("[device.tls]\nserver_name = \"a b\"", STREAM, "tls.server_name"),
        ("[device.last_will]\ntopic = \"a/#\"\npayload = \"x\"", STREAM, "last_will.topic"),
        ("[device.last_will]\ntopic = \"a\"", STREAM, "last_will.payload"),
        ("[device.last_will]\ntopic = \"a\"\npayload = \"x\"\nqos = 3", STREAM, "last_will.qos"),
        ("", "topic = \"a\"\ntype = \"f64\"\nformat = \"xml\"", "format"),
        ("", "topic = \"a\"\ntype = \"f64\"\nformat = \"text\"\npointer = \"/t\"", "pointer"),
        ("", "topic = \"a\"\ntype = \"f64\"\nformat = \"csv\"", "column"),
        ("", "topic = \"a\"\ntype = \"f64\"\nformat = \"csv\"\ncolumn = 0", "column"),
        ("", "topic = \"a\"\ntype = \"f64\"\nformat = \"csv\"\ncolumn = \"t\"", "column"),
        ("", "topic = \"a\"\ntype = \"f64\"\nformat = \"csv\"\ncolumn = 1\nseparator = \"--\"", "separator"),
        (
            "",
            "topic = \"a\"\ntype = \"f64\"\nformat = \"csv\"\ncolumn = 1\ndecimal_comma = true",
            "decimal_comma",
        ),
        ("", "topic = \"a\"\ntype = \"f64\"\nformat = \"csv\"\ncolumn = 1\npointer = \"/t\"", "pointer"),
        ("", "topic = \"a\"\ntype = \"f64\"\ncolumn = 1", "column"),
        ("", &written("topic = \"a/b\""), "write.topic"),
        ("", &written("topic = \"a/+\""), "write.topic"),
        ("", &written("topic = \"a/{m}\""), "write.topic"),
        ("", &written(""), "write.topic"),
        ("", &written("topic = \"set\"\nqos = 2"), "write.qos"),
        ("", &written("topic = \"set\"\npayload = \"on\""), "write.payload"),
        ("", &written("topic = \"set\"\nconfirm_within = \"1min\""), "write.confirm_within"),
    ] {
        let errors = errors(&toml(device, stream));
        let keys: Vec<_> = errors.iter().map(|error| error.key.as_str()).collect();
        assert_eq!(keys, [key], "{device} {stream}: {errors:?}");
        assert!(!format!("{errors:?}").contains("hunter2"), "a password is not shown: {errors:?}");
    }
    let modbus = "[[device]]\nname = \"plc\"\nprotocol = \"modbus-tcp\"\naddress = \"h:502\"\nqos = 1\n\
                  [[device.stream]]\nname = \"s\"\nregister = \"holding:1\"\ntype = \"u16\"\ntopic = \"a\"\n";
    let keys: Vec<_> = errors(modbus).into_iter().map(|error| error.key).collect();
    assert_eq!(keys, ["qos", "topic"]);
}

#[test]
fn topics_that_a_broker_might_send_twice_are_refused() {
    let text = toml("", "topic = \"a/+/c\"\ntype = \"f64\"")
        + "[[device.stream]]\nname = \"s2\"\ntopic = \"a/b/+\"\ntype = \"f64\"\n";
    let errors = errors(&text);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!((errors[0].key.as_str(), errors[0].line), ("topic", Some(12)));
    let covered = toml("", "topic = \"a/#\"\ntype = \"f64\"")
        + "[[device.stream]]\nname = \"s2\"\ntopic = \"a/b/+\"\ntype = \"f64\"\n";
    let broker = device::<Mqtt>(&covered);
    assert_eq!(broker.filters.len(), 1);
}

#[test]
fn two_streams_of_one_name_and_two_clients_of_one_id_are_found() {
    let each = "name = \"x\"\ntopic = \"a/{m}\"\neach = { m = [\"1\", \"2\"] }\ntype = \"f64\"";
    let text = format!(
        "[[device]]\nname = \"broker\"\nprotocol = \"mqtt\"\naddress = \"h:1883\"\n[[device.stream]]\n{each}\n"
    );
    let found = errors(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].found.contains("\"x\""), "{found:?}");

    let one = toml("client_id = \"c\"", STREAM);
    let other = one.replace("\"broker\"", "\"other\"").replace("\"s\"", "\"s2\"");
    let found = errors(&format!("{one}{other}"));
    assert_eq!(found.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["client_id"], "{found:?}");
}

/// Story: two tables speak to the broker in the same cabinet, one by name, one by address, with one client id. `check` said
/// that all was right, and in the plant they threw each other out every second.
#[test]
fn one_client_id_at_one_broker_under_two_names_is_found() {
    let at = |address: &str, name: &str| {
        toml("client_id = \"c\"", STREAM)
            .replace("h:1883", address)
            .replace("\"broker\"", &format!("\"{name}\""))
            .replace("\"s\"", &format!("\"{name}/s\""))
    };
    let pair = |one: &str, other: &str| at(one, "one") + &at(other, "other");
    for (one, other) in [
        ("localhost:1883", "127.0.0.1:1883"),
        ("LocalHost.:1883", "[::1]:1883"),
        ("127.0.0.1:1883", "127.1.2.3:1883"),
        ("0.0.0.0:1883", "[::ffff:127.0.0.1]:1883"),
        ("[fd00::7]:1883", "[FD00:0:0::7]:1883"),
        ("broker.plant:1883", "Broker.Plant.:1883"),
    ] {
        let found = errors(&pair(one, other));
        assert_eq!(
            found.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(),
            ["client_id"],
            "{one} {other}: {found:?}"
        );
    }
    // Nobody can say here whether these are one: a person should look.
    for (one, other, count) in [
        ("broker.plant:1883", "10.0.0.7:1883", 1),
        ("localhost:1883", "10.0.0.7:1883", 1),
        ("broker.plant:1883", "broker.plant:1884", 0),
    ] {
        let sources = config::sources(&pair(one, other)).expect("no mistake");
        let doubts = config::doubts(&sources);
        assert_eq!(doubts.len(), count, "{one} {other}: {doubts:?}");
        assert!(
            doubts.iter().all(|doubt| doubt.contains("\"other\"") && doubt.contains("client_id")),
            "{doubts:?}"
        );
    }
    let other_id = at("10.0.0.7:1883", "other").replace("\"c\"", "\"d\"");
    let sources = config::sources(&(at("localhost:1883", "one") + &other_id)).expect("no mistake");
    assert!(config::doubts(&sources).is_empty());
}

/// Story: an engineer gives a device another client id, under which the broker still keeps a session from last month with a
/// message that was sent and not acknowledged, and reloads. It was recorded then, and was recorded again as if it were new.
/// Or another address: another broker's packet ids have nothing to do with those that are remembered.
#[test]
fn a_successor_knows_the_messages_of_its_own_session_only() {
    let digest = digest_of("a/b", b"1");
    let start = |is_running| Start { gateway: "g", origins: &[], is_running };
    for (address, client_id, known) in [
        ("h:1883", "c", Known::Recorded),
        ("h:1883", "d", Known::Unknown),
        ("h:1884", "c", Known::Unknown),
        ("other:1883", "c", Known::Unknown),
    ] {
        let before = device::<Mqtt>(&toml("client_id = \"c\"", STREAM));
        before.begin(&start(false));
        {
            let mut state = before.shared.lock();
            state.memory.handed_over(5, digest);
            state.memory.is_durable(5, digest);
            state.had_session = true;
        }
        let text = toml(&format!("client_id = \"{client_id}\""), STREAM).replace("h:1883", address);
        let after = device::<Mqtt>(&text);
        after.begin(&start(true));
        after.succeed(&before);
        let state = after.shared.lock();
        assert_eq!(state.memory.known(5, digest), known, "{address} {client_id}");
        assert_eq!(state.had_session, known == Known::Recorded);
    }
}

#[test]
fn a_client_id_is_stable_and_a_rehearsal_has_another() {
    let broker = device::<Mqtt>(&toml("", STREAM));
    broker.begin(&Start { gateway: "svgw1abcdefghijklmnopqrst", origins: &[], is_running: false });
    assert_eq!(broker.address(), "h:1883 as selvedge-efghijklmnopqrst-broker");
    let look = broker.rehearsal().expect("it must not take the session away");
    assert!(look.address().contains("-test-"), "{}", look.address());
    let named = device::<Mqtt>(&toml("client_id = \"mine\"", STREAM));
    named.begin(&Start { gateway: "svgw1", origins: &[], is_running: false });
    assert_eq!(named.address(), "h:1883 as mine");
}

#[test]
fn the_example_of_the_readme_is_right() {
    let text = include_str!("../../README.md");
    let mut examples = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let example = examples.find(|example| example.contains("protocol = \"mqtt\"")).expect("an example");
    let broker = device::<Mqtt>(example);
    let names: Vec<_> = broker.streams.iter().map(|s| s.descriptor.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "line1/filler/temperature",
            "line1/capper/temperature",
            "line1/filler/running",
            "line1/capper/running",
            "line1/alarm",
            "line1/scale",
            "line1/filler/speed"
        ]
    );
    let filters: Vec<_> = broker.filters.iter().map(crate::mqtt::topic::Filter::as_str).collect();
    assert_eq!(filters, ["plant/line1/+/state", "plant/alarms/line1/+", "line1/scale/row"]);
}
