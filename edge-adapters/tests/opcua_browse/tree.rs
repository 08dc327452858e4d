//! The tree: all of it, from both servers, whatever they give at once.

use std::collections::BTreeMap;

use edge_adapters::Fault;
use edge_adapters::opcua::browse::{
    Found, Given, Kind, NODES_USUAL, Node, Request, Target, Variable, browse,
};
use serde_json::Value;

use crate::support::Server;

pub(crate) fn target(said: &Value) -> Target {
    let address = Given::Text(said["url"].as_str().expect("a url").to_owned());
    Target::read([("address", &address)]).expect("right keys")
}

pub(crate) fn request(globs: &[&str]) -> Request {
    let globs = globs.iter().map(|glob| glob.parse().expect("a pattern")).collect();
    Request { globs, depth: 20, nodes_max: NODES_USUAL }
}

pub(crate) async fn all(said: &Value) -> Found {
    browse(&target(said), &request(&["Objects/**"])).await.expect("the server lets everybody in")
}

fn node<'a>(found: &'a Found, path: &str) -> (usize, &'a Node) {
    let at = (0..found.nodes.len()).find(|at| found.written_path(*at) == path);
    let at = at.unwrap_or_else(|| panic!("no {path}; there are {:?}", paths(found)));
    (at, &found.nodes[at])
}

fn variable<'a>(found: &'a Found, path: &str) -> &'a Variable {
    match &node(found, path).1.kind {
        Kind::Variable(Some(variable)) => variable,
        other => panic!("{path} is {other:?}"),
    }
}

fn paths(found: &Found) -> Vec<String> {
    (0..found.nodes.len()).map(|at| found.written_path(at)).collect()
}

/// Everything that the server says it has was found, with all that is known of it.
fn check(found: &Found, said: &Value, server: &str) {
    let nodes = said["nodes"].as_array().expect("a list");
    assert!(!found.is_cut);
    let mut by_path: BTreeMap<Vec<&str>, usize> = BTreeMap::new();
    for (at, ..) in found.variables() {
        by_path.insert(found.path(at), at);
    }
    assert_eq!(by_path.len(), nodes.len(), "{:?}", paths(found));
    for expected in nodes {
        let path: Vec<&str> = expected["path"].as_str().expect("a path").split('/').collect();
        let at = *by_path.get(&path).unwrap_or_else(|| panic!("no {path:?}; there are {by_path:?}"));
        let Kind::Variable(Some(variable)) = &found.nodes[at].kind else {
            panic!("{path:?} is not described")
        };
        assert_eq!(found.nodes[at].node.to_string(), expected["node"], "{path:?}");
        assert_eq!(variable.data_type, expected["type"], "{path:?}");
        assert_eq!(variable.elements.is_some(), expected["array"], "{path:?}");
        let unit = variable.unit.as_ref().and_then(|unit| unit.ucum);
        assert_eq!(unit, expected["unit"].as_str(), "{path:?}");
        assert_eq!(variable.is_writable, expected["access"] == "write", "{path:?}");
        assert_eq!(variable.is_readable, expected["access"] != "none", "{path:?} on {server}");
    }
}

#[tokio::test]
async fn all_that_asyncua_has_is_found_and_described() {
    let (_server, said) = Server::python("opcua_asyncua.py", ["--security", "none"]);
    let found = all(&said).await;
    check(&found, &said, "asyncua");
    check_details(&found);
}

#[tokio::test]
async fn all_that_node_opcua_has_is_found_and_described() {
    let (_server, said) = Server::node("opcua_node.mjs", ["--security", "none"]);
    let found = all(&said).await;
    check(&found, &said, "node-opcua");
    check_details(&found);
}

fn check_details(found: &Found) {
    let level = variable(found, "Objects/Line1/Filler/Level");
    assert_eq!(level.shown(), "52.5 l");
    assert_eq!(level.range, Some((0.0, 100.0)));
    assert!(level.source_time_ns.is_some());
    assert_eq!(variable(found, "Objects/Line1/Types/String").shown(), r#""Grüße, Ω""#);
    assert_eq!(variable(found, "Objects/Line1/Types/UInt64").shown(), u64::MAX.to_string());
    let bad = variable(found, "Objects/Line1/Broken/Bad").shown();
    assert_eq!(bad, "(bad: BadSensorFailure)");
    let uncertain = variable(found, "Objects/Line1/Broken/Uncertain").shown();
    assert_eq!(uncertain, "2 (uncertain: UncertainLastUsableValue)");
    assert_eq!(variable(found, "Objects/Line1/Arrays/Words").kind(), "UInt16[3]");
    assert_eq!(node(found, "Objects/Line1/Filler/Add").1.kind, Kind::Method);
    // The server's story about itself is long, and nobody asked for it.
    assert!(!paths(found).iter().any(|path| path.starts_with("Objects/Server")));

    // Filler points back at its line. That is shown, and not entered again.
    let (at, again) = node(found, "Objects/Line1/Filler/Line1");
    assert_eq!(again.same_as, Some(node(found, "Objects/Line1").0));
    assert!(found.nodes.iter().all(|node| node.parent != Some(at)));
}

/// A server that gives two references at a time, takes three nodes in a request, and keeps few continuation points.
#[tokio::test]
async fn a_server_that_gives_little_at_once_shows_the_same_tree() {
    let arguments = ["--references", "2", "--operations", "3"];
    let (_server, said) = Server::node("opcua_node.mjs", arguments);
    let found = all(&said).await;
    check(&found, &said, "node-opcua");
    assert!(found.requests > 50, "{} requests", found.requests);
}

/// A folder of 5,000: more than fits into one answer, and more than the library's array limit would have let through.
#[tokio::test]
async fn five_thousand_variables_in_one_folder() {
    let (_server, said) = Server::node("opcua_node.mjs", ["--large", "5000"]);
    let target = target(&said);
    let found = browse(&target, &request(&["Objects/Large/*"])).await.expect("a tree");
    assert_eq!(found.variables().count(), 5_000);
    for (number, (at, node, variable)) in found.variables().enumerate() {
        assert_eq!(found.written_path(at), format!("Objects/Large/V{number:05}"));
        assert_eq!(variable.shown(), number.to_string(), "{}", node.node);
    }
    // Nobody asked for the rest, so nobody looked there.
    assert!(!paths(&found).iter().any(|path| path.starts_with("Objects/Line1")));
    assert!(found.requests < 150, "{} requests", found.requests);

    let few = Request { nodes_max: 100, ..request(&["Objects/Large/*"]) };
    let found = browse(&target, &few).await.expect("a part of the tree");
    assert!(found.is_cut);
    assert_eq!(found.nodes.len(), 100);
}

#[tokio::test]
async fn patterns_and_depth_say_where_is_looked() {
    let (_server, said) = Server::python("opcua_asyncua.py", ["--security", "none"]);
    let target = target(&said);
    let found = browse(&target, &request(&["Objects/*/Filler/T*", "**/Numeric"])).await.expect("a tree");
    let mut meant: Vec<String> = found.variables().map(|(at, ..)| found.written_path(at)).collect();
    meant.sort();
    let filler = "Objects/Line1/Filler";
    let expected = ["Target", "Temperature", "Ticks"].map(|name| format!("{filler}/{name}")).to_vec();
    assert_eq!(meant, [expected, vec!["Objects/Line1/Ids/Numeric".to_owned()]].concat());
    // Units are known of what lies at the end of a pattern too.
    let unit = variable(&found, "Objects/Line1/Filler/Temperature").unit.as_ref().expect("a unit");
    assert_eq!(unit.ucum, Some("Cel"));

    let shallow = Request { depth: 2, ..request(&["Objects/**"]) };
    let found = browse(&target, &shallow).await.expect("a tree");
    assert!(paths(&found).contains(&"Objects/Line1/Filler".to_owned()));
    assert_eq!(found.variables().count(), 0);
    let deeper = Request { depth: 3, ..request(&["Objects/**"]) };
    let found = browse(&target, &deeper).await.expect("a tree");
    assert_eq!(variable(&found, "Objects/Line1/Filler/Level").unit.as_ref().and_then(|u| u.ucum), Some("L"));

    let found = browse(&target, &request(&["Objects/Server/ServerStatus/**"])).await.expect("a tree");
    let state = variable(&found, "Objects/Server/ServerStatus/State");
    assert_eq!(state.kind(), "ServerState (Int32)");
}

/// A machine of the companion specification Machinery: objects whose properties are what is of interest.
#[tokio::test]
async fn a_machine_of_the_machinery_specification() {
    let (_server, said) = Server::node("opcua_node.mjs", ["--machinery"]);
    let found = browse(&target(&said), &request(&["Objects/Machines/**"])).await.expect("a tree");
    let place = "Objects/Machines/Filler1/Identification";
    assert_eq!(variable(&found, &format!("{place}/SerialNumber")).shown(), r#""SW-0042""#);
    assert_eq!(variable(&found, &format!("{place}/Manufacturer")).shown(), r#""Selvedge Works""#);
    let (_, machines) = node(&found, "Objects/Machines");
    assert_eq!(machines.node.to_string(), "nsu=http://opcfoundation.org/UA/Machinery/;i=1001");
}

#[tokio::test]
async fn a_server_that_is_not_there_and_one_that_is_silent() {
    let (mut server, said) = Server::python("opcua_asyncua.py", ["--security", "none"]);
    server.command("hang");
    let address = Given::Text(said["url"].as_str().expect("a url").to_owned());
    let timeout = Given::Text("1s".to_owned());
    let target = Target::read([("address", &address), ("timeout", &timeout)]).expect("right keys");
    let silent: Fault = browse(&target, &request(&["Objects/**"])).await.expect_err("it is silent");
    assert!(silent.to_string().contains("within"), "{silent}");
    server.stop();
    let gone = browse(&target, &request(&["Objects/**"])).await.expect_err("it is gone");
    assert!(gone.to_string().contains("refused"), "{gone}");
}
