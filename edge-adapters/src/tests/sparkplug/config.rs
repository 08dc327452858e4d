//! Keys of a device of the protocol `sparkplug`.

use super::super::support::errors;
use crate::config::sources;

const HEAD: &str =
    "[[device]]\nname = \"plant\"\nprotocol = \"sparkplug\"\naddress = \"h:1883\"\ngroup = \"g\"\n";
const STREAM: &str = "[[device.stream]]\nname = \"level\"\nnode = \"n\"\nmetric = \"Outputs/Level\"\n";

#[test]
fn what_is_written_is_what_the_node_hears_of() {
    let toml = format!("{HEAD}host_id = \"h1\"\n{STREAM}device = \"d\"\ntype = \"int16\"\n");
    let sources = sources(&toml).expect("right");
    let descriptor = &sources[0].streams()[0].descriptor;
    assert_eq!(descriptor.address, "sparkplug h:1883 g n/d metric Outputs/Level");
    assert_eq!(descriptor.source_type, "sparkplug Int16");
    let resources: Vec<_> = sources[0].claims().into_iter().map(|claim| claim.resource).collect();
    assert_eq!(resources[1], "mqtt h:1883 host application spBv1.0/STATE/h1");
}

#[test]
fn what_is_wrong_is_named() {
    for (toml, key, expected) in [
        (format!("{HEAD}{STREAM}type = \"int17\""), "type", "Int16"),
        (format!("{HEAD}{STREAM}device = \"a/b\""), "device", "one level of a topic"),
        (format!("{HEAD}host_id = \"+\"\n{STREAM}"), "host_id", "one level of a topic"),
        (format!("{HEAD}state = \"2.1\"\n{STREAM}"), "state", "2.2"),
        (format!("{HEAD}qos = 2\n{STREAM}"), "qos", "0 to 1"),
        (format!("{HEAD}reorder = \"1h\"\n{STREAM}"), "reorder", "60s"),
        (format!("{HEAD}{STREAM}topic = \"a\""), "topic", "metric"),
        (HEAD.to_owned(), "stream", "at least one"),
        (format!("{}{STREAM}", HEAD.replace("\"g\"", "\"STATE\"")), "group", "not STATE"),
        (format!("{}{STREAM}", HEAD.replace("group = \"g\"\n", "")), "group", "second level"),
        (format!("{HEAD}{}", STREAM.replace("node = \"n\"\n", "")), "node", "fourth level"),
        (format!("{HEAD}{}", STREAM.replace("metric = \"Outputs/Level\"\n", "")), "metric", "Outputs/Level"),
        (format!("{HEAD}last_will = {{}}\n{STREAM}"), "last_will", ""),
    ] {
        let errors = errors(&toml);
        assert_eq!(errors.len(), 1, "{errors:#?}");
        assert_eq!(errors[0].key, key, "{toml}");
        assert!(errors[0].expected.contains(expected), "{toml}\n{}", errors[0]);
    }
}

#[test]
fn one_host_id_is_one_connection() {
    let two = format!(
        "{HEAD}host_id = \"h\"\n{STREAM}{}{}",
        HEAD.replace("plant", "other").replace("\"g\"", "\"g2\"\nhost_id = \"h\""),
        STREAM.replace("level", "other"),
    );
    let errors = errors(&two);
    assert_eq!((errors.len(), errors[0].key.as_str()), (1, "host_id"), "{errors:#?}");
}
