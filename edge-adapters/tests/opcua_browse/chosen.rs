//! What is written is a configuration that works as it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use edge_adapters::config::sources;
use edge_adapters::opcua::browse::file::{Choice, Wish, configuration};
use edge_adapters::{Clock, SystemClock, Trial, TrialEvent};
use serde_json::Value;

use crate::support::Server;
use crate::tree::{all, target};

fn wish(only: &[&str]) -> Wish {
    let only = only.iter().map(|text| text.parse::<Choice>().expect("a choice")).collect();
    Wish { name: "filler".to_owned(), only }
}

/// What a stream must show: the value of the table, or of one element of it.
fn expected<'a>(said: &'a Value, node: &str, index: Option<usize>) -> &'a Value {
    let nodes = said["nodes"].as_array().expect("a list");
    let found = nodes.iter().find(|found| found["node"] == node);
    let value = &found.unwrap_or_else(|| panic!("no {node}"))["value"];
    index.map_or(value, |index| &value[index])
}

/// Reads until each stream has spoken: name to value.
async fn read(text: &str) -> BTreeMap<String, Value> {
    let source = sources(text).unwrap_or_else(|errors| panic!("{errors:?}\n{text}")).remove(0);
    let names: Vec<String> = source.streams().iter().map(|s| s.descriptor.name.clone()).collect();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut trial = Trial::start(source, Duration::from_mins(1), &clock);
    let mut found = BTreeMap::new();
    while let Some(event) = trial.next().await {
        if let TrialEvent::Reading(reading) = event {
            found.insert(reading.stream, serde_json::to_value(&reading.value).expect("a value"));
        }
        if found.len() == names.len() {
            return found;
        }
    }
    panic!("only {} of {} streams spoke: {found:?}\n{text}", found.len(), names.len());
}

async fn works_as_it_is(said: &Value) {
    let found = all(said).await;
    let (text, streams) = configuration(
        &found,
        &target(said),
        &wish(&["Objects/Line1/Filler/*", "**/Types/*Int*", "**/Arrays/*"]),
    );
    let values = read(&text).await;
    assert_eq!(values.len(), streams, "{text}");
    let parsed: toml::Value = toml::from_str(&text).expect("TOML");
    let entries = parsed["device"][0]["stream"].as_array().expect("streams");
    assert_eq!(entries.len(), streams);
    let mut compared = 0;
    for entry in entries {
        let name = entry["name"].as_str().expect("a name");
        let index = entry.get("index").map(|index| index.as_integer().expect("a number") as usize);
        let expected = expected(said, entry["node"].as_str().expect("a node"), index);
        let shown = &values[name];
        let is_same = match (shown.as_f64(), expected.as_f64()) {
            (Some(shown), Some(expected)) => (shown - expected).abs() < 1e-6,
            // Numbers beyond 53 bits stand as text in the table.
            _ => shown == expected || expected.as_str().is_some_and(|text| format!("{shown}") == text),
        };
        assert!(is_same, "{name}: {shown}, and not {expected}\n{text}");
        compared += 1;
    }
    // The filler has nine that may be read and more; four kinds of integers of both signs; 3 + 3 + 2 elements.
    assert!(compared >= 9 + 6 + 8, "{compared}\n{text}");
    // Arrays without an element, and what nobody may read, are named and left out.
    assert!(text.contains("Left out (nsu=urn:selvedge:test:plant;s=Arrays.None)"), "{text}");
}

#[tokio::test]
async fn the_configuration_from_asyncua_works_as_it_is() {
    let (_server, said) = Server::python("opcua_asyncua.py", ["--security", "none"]);
    works_as_it_is(&said).await;
}

#[tokio::test]
async fn the_configuration_from_node_opcua_works_as_it_is() {
    let (_server, said) = Server::node("opcua_node.mjs", ["--security", "none"]);
    works_as_it_is(&said).await;
}

/// Numbers of namespaces change; what is written does not care.
#[tokio::test]
async fn a_node_is_chosen_by_its_id_and_found_again_when_namespaces_are_numbered_anew() {
    let (mut server, said) = Server::node("opcua_node.mjs", ["--security", "none"]);
    let found = all(&said).await;
    let nodes = ["nsu=urn:selvedge:test:plant;s=Filler.Level", "nsu=urn:selvedge:test:extra;i=3001"];
    let (text, streams) = configuration(&found, &target(&said), &wish(&nodes));
    assert_eq!(streams, 2, "{text}");
    assert!(text.contains("unit = \"L\""), "{text}");
    server.command("swap");
    let values = read(&text).await;
    assert_eq!(values["filler/Line1/Filler/Level"], 52.5);
    assert_eq!(values["filler/Line1/Ids/Numeric"], 13);
}
