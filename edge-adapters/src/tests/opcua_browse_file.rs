//! Whatever a server calls its nodes, units and texts, the configuration that `browse` writes is read, and holds the
//! streams that it says, and nothing else.

use opcua::types::{Guid, Identifier, NodeId};
use selvedge_core::reading::{Quality, Value};

use super::support::cases;
use crate::backoff::SplitMix;
use crate::config::sources;
use crate::mapping::Decoded;
use crate::opcua::browse::file::{Choice, Wish, configuration};
use crate::opcua::browse::{Found, Given, Kind, Node, Target, Unit, Variable, unit};
use crate::opcua::node_id::{Namespace, NodeName};
use crate::status_code;

const NASTY: [&str; 14] = [
    "Level",
    "a\nname = \"b\"",
    "\"\"\"",
    "'''",
    "\\",
    "#",
    "[[device]]",
    "é",
    "\u{202E}",
    "\u{0}",
    "/",
    "",
    "very long ",
    "\r",
];

fn text(random: &mut SplitMix) -> String {
    let count = 1 + random.next() % 4;
    let words = (0..count).map(|_| NASTY[(random.next() % NASTY.len() as u64) as usize]);
    let text: String = words.collect();
    if random.next().is_multiple_of(10) { text.repeat(60) } else { text }
}

fn node(random: &mut SplitMix, parent: Option<usize>, name: String, kind: Kind) -> Node {
    let identifier = match random.next() % 3 {
        0 => Identifier::Numeric(random.next() as u32),
        1 => Identifier::Guid(Guid::new()),
        _ => Identifier::String(format!("{}{}", text(random), random.next()).into()),
    };
    let uri = format!("urn:{}", text(random));
    let namespace = if random.next().is_multiple_of(2) { Namespace::Uri(uri) } else { Namespace::Index(2) };
    let node = NodeName { namespace, identifier: identifier.clone() };
    let id = NodeId { namespace: 2, identifier };
    Node { parent, name, node, kind, is_meant: true, same_as: None, error: None, id }
}

fn variable(random: &mut SplitMix) -> Variable {
    let status = [0, status_code::STRUCTURE, 0x8089_0000][(random.next() % 3) as usize];
    let symbol = text(random);
    Variable {
        data_type: text(random),
        encoding: Some("Double"),
        elements: (random.next().is_multiple_of(3)).then(|| (random.next() % 40) as usize),
        is_readable: !random.next().is_multiple_of(5),
        is_writable: random.next().is_multiple_of(2),
        now: Decoded { value: Value::Text(text(random)), quality: Quality::Good, status },
        source_time_ns: None,
        unit: Some(Unit { ucum: unit::ucum("", 0, &symbol), symbol }),
        range: None,
    }
}

fn found(random: &mut SplitMix) -> Found {
    let mut nodes = vec![node(random, None, "Objects".to_owned(), Kind::Object)];
    for at in 0..=random.next() % 12 {
        let parent = Some((random.next() % (at + 1)) as usize);
        let kind = match random.next() % 4 {
            0 => Kind::Object,
            _ => Kind::Variable(Some(Box::new(variable(random)))),
        };
        let name = text(random);
        nodes.push(node(random, parent, name, kind));
    }
    Found { url: "opc.tcp://plc:4840".to_owned(), namespaces: Vec::new(), nodes, is_cut: false, requests: 0 }
}

#[test]
fn nothing_that_a_server_says_breaks_the_file() {
    let seed = 0xB10E;
    println!("seed {seed:#x}");
    let mut random = SplitMix(seed);
    let address = Given::Text("opc.tcp://plc:4840".to_owned());
    let target = Target::read([("address", &address)]).expect("right keys");
    let (mut all, cases) = (0, cases());
    for case in 0..cases {
        let found = found(&mut random);
        let wish = Wish { name: "plc".to_owned(), only: Vec::new() };
        let (text, streams) = configuration(&found, &target, &wish);
        if streams == 0 {
            continue;
        }
        let sources = sources(&text).unwrap_or_else(|errors| panic!("case {case}: {errors:?}\n{text}"));
        assert_eq!(sources.len(), 1, "case {case}: {text}");
        assert_eq!(sources[0].streams().len(), streams, "case {case}: {text}");
        all += streams;
    }
    assert!(all > cases as usize, "{all} streams in {cases} files");
}

#[test]
fn names_of_streams_are_paths_and_each_is_one_of_its_own() {
    let mut random = SplitMix(1);
    let mut plain = variable(&mut random);
    plain.now = Decoded::good(Value::Float(52.5));
    plain.elements = None;
    plain.is_readable = true;
    let variable = || Kind::Variable(Some(Box::new(plain.clone())));
    let names = ["Level", "Level", "Füll stand", &"x".repeat(200), &"x".repeat(200)];
    let mut nodes = vec![node(&mut random, None, "Objects".to_owned(), Kind::Object)];
    nodes.push(node(&mut random, Some(0), "Line1".to_owned(), Kind::Object));
    nodes.extend(names.map(|name| node(&mut random, Some(1), name.to_owned(), variable())));
    let found =
        Found { url: "opc.tcp://plc".to_owned(), namespaces: Vec::new(), nodes, is_cut: true, requests: 0 };
    let address = Given::Text("opc.tcp://plc".to_owned());
    let target = Target::read([("address", &address)]).expect("right keys");
    let (text, streams) = configuration(&found, &target, &Wish { name: "plc".to_owned(), only: Vec::new() });
    assert_eq!(streams, 5);
    let source = sources(&text).unwrap_or_else(|errors| panic!("{errors:?}\n{text}")).remove(0);
    let names: Vec<&str> = source.streams().iter().map(|spec| spec.descriptor.name.as_str()).collect();
    assert_eq!(names[..3], ["plc/Line1/Level", "plc/Line1/Level~2", "plc/Line1/F-ll-stand"]);
    assert!(names.iter().all(|name| name.len() <= 128), "{names:?}");
    assert!(text.contains("a part of what is meant"), "{text}");
}

#[test]
fn a_choice_is_a_node_or_a_path() {
    assert!(matches!("nsu=urn:x;s=Level".parse(), Ok(Choice::Node(_))));
    assert!(matches!("i=2258".parse(), Ok(Choice::Node(_))));
    assert!(matches!("Objects/**".parse(), Ok(Choice::Path(_))));
    for (wrong, says) in
        [("nsu=urn:x;q=1", "is no node"), ("ns=x;i=1", "is no node"), ("a//b", "neither a node nor a path")]
    {
        let why = wrong.parse::<Choice>().expect_err("wrong");
        assert!(why.contains(says), "{why}");
    }
}

#[test]
fn units_are_known_by_their_code_or_their_symbol() {
    const CEFACT: &str = crate::opcua::browse::CEFACT;
    for (namespace, id, symbol, ucum) in [
        (CEFACT, 4_408_652, "°C", Some("Cel")),
        (CEFACT, 0x004C_5452, "l", Some("L")),
        (CEFACT, 0x5031, "%", Some("%")),
        // A server that numbers its units itself.
        ("urn:vendor", 4_408_652, "bar", Some("bar")),
        (CEFACT, -1, "bar", Some("bar")),
        (CEFACT, -1, "furlong", None),
        (CEFACT, 0, "", None),
    ] {
        assert_eq!(unit::ucum(namespace, id, symbol), ucum, "{id} {symbol}");
    }
}
