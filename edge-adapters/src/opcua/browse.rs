//! The address space of a server as a tree, for a person to choose from: what `selvedge adapter browse` shows.
//!
//! It walks from `Objects` downwards along hierarchical references, level by level, and asks only for branches where
//! something meant by the patterns may lie. An address space is a graph with loops: a node is walked through once (once
//! for each way in which a pattern can go on there), and where it turns up again, or lies within itself, it is shown and
//! not entered. Depth and number of nodes are bounded. What the server says of itself below `Objects/Server`, and its
//! list of other names below `Objects/Aliases`, is left out unless a pattern begins with that.

mod ask;
pub mod file;
pub mod glob;
pub mod unit;
mod walk;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use opcua::types::{NodeId, Variant};

use super::OpcUa;
use super::node_id::{Namespace, NodeName};
use super::session::Connect;
use crate::adapter::Fault;
use crate::clock::SystemClock;
use crate::config::ConfigError;
use crate::health::Health;
use crate::mapping::Decoded;
use glob::Glob;

/// Where the codes of UN/CEFACT recommendation 20 are meant (OPC 10000-8, 5.6.4.3).
pub const CEFACT: &str = "http://www.opcfoundation.org/UA/units/un/cefact";
/// How deep an address space is walked at most.
pub const DEPTH_MAX: usize = 64;
/// How many nodes are taken in if nobody says how many.
pub const NODES_USUAL: usize = 10_000;
/// How many at most: each takes a kilobyte or so.
pub const NODES_MAX: usize = 1_000_000;
/// How long the server is asked to keep the session when this side is gone.
const SESSION_TIMEOUT: Duration = Duration::from_mins(1);

/// Which server, and as whom.
#[derive(Debug, Clone)]
pub struct Target {
    keys: String,
    connect: Connect,
}

/// What somebody gave for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// One text.
    Text(String),
    /// Several.
    Texts(Vec<String>),
    /// Yes or no.
    Flag(bool),
}

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Paths from `Objects` downwards; a variable that one of them means is described.
    pub globs: Vec<Glob>,
    /// How many levels below `Objects` at most.
    pub depth: usize,
    /// How many nodes at most.
    pub nodes_max: usize,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The url that was dialled.
    pub url: String,
    /// The names of its namespaces, by their number at this moment.
    pub namespaces: Vec<String>,
    /// `Objects` first, each node after its parent.
    pub nodes: Vec<Node>,
    /// There is more than was to be taken in.
    pub is_cut: bool,
    /// Requests that it took.
    pub requests: u64,
}

/// A node, at one place of the tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where its parent is in the list.
    pub parent: Option<usize>,
    /// Its browse name, without the namespace.
    pub name: String,
    /// Its node id, with the name of its namespace.
    pub node: NodeName,
    /// What it is.
    pub kind: Kind,
    /// Does a pattern mean it?
    pub is_meant: bool,
    /// Where it turned up before, as a place in the list. It was not entered again.
    pub same_as: Option<usize>,
    /// Why its children are not known, if they are not.
    pub error: Option<String>,
    pub(crate) id: NodeId,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Holds others.
    Object,
    /// Holds a value. Described if it is meant.
    Variable(Option<Box<Variable>>),
    /// May be called.
    Method,
}

/// What is known of a variable.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    /// The data type by its name: `Double`, `MachineryItemStateEnum`.
    pub data_type: String,
    /// What a value is encoded as, when there is one: an enumeration is an `Int32`.
    pub encoding: Option<&'static str>,
    /// How many elements, if it holds an array.
    pub elements: Option<usize>,
    /// May the value be read by this user?
    pub is_readable: bool,
    /// May it be written?
    pub is_writable: bool,
    /// The value now, as a reading would hold it; the first element of an array.
    pub now: Decoded,
    /// When the source says it was so, ns since 1970 UTC.
    pub source_time_ns: Option<i64>,
    /// The unit, if the variable has one.
    pub unit: Option<Unit>,
    /// Lower and upper end of what the value usually is.
    pub range: Option<(f64, f64)>,
}

/// A unit of measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// As UCUM, if it is known as that.
    pub ucum: Option<&'static str>,
    /// As the server writes it.
    pub symbol: String,
}

impl Target {
    /// By the keys of a device of the protocol `opcua` and their values, which are those of a configuration, and are
    /// checked as they are there: `address`, `security`, `user`, `password_file`, `pki`, `timeout`…
    ///
    /// # Errors
    /// What is wrong with them.
    ///
    /// # Panics
    /// Never: a device that is read is one of the protocol that is written.
    pub fn read<'a>(
        keys: impl IntoIterator<Item = (&'static str, &'a Given)>,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut text = String::new();
        for (key, given) in keys {
            // Writing to a string cannot fail.
            let _ = match given {
                Given::Text(value) => writeln!(text, "{key} = {}", file::quoted(value)),
                Given::Texts(values) => {
                    let list: Vec<String> = values.iter().map(|value| file::quoted(value)).collect();
                    writeln!(text, "{key} = [{}]", list.join(", "))
                }
                Given::Flag(flag) => writeln!(text, "{key} = {flag}"),
            };
        }
        // A device has a stream; this one is on every server, and is not read.
        let device = format!(
            "[[device]]\nname = \"browse\"\nprotocol = \"opcua\"\n{text}[[device.stream]]\nname = \"time\"\nnode = \"i=2258\"\n"
        );
        let sources = crate::config::sources(&device)?;
        let source = sources.first().and_then(|source| source.as_any().downcast_ref::<OpcUa>());
        let connect = Connect {
            name: "selvedge adapter browse".to_owned(),
            session_timeout: SESSION_TIMEOUT,
            ..source.expect("the protocol is opcua").connect.clone()
        };
        Ok(Self { keys: text, connect })
    }

    /// The lines of a `[[device]]` table that lead there.
    pub fn keys(&self) -> &str {
        &self.keys
    }

    /// As dialled.
    pub fn url(&self) -> &str {
        &self.connect.dial.url
    }
}

impl Found {
    /// The path of a node, from `Objects` downwards.
    pub fn path(&self, at: usize) -> Vec<&str> {
        let mut names = Vec::new();
        let mut next = Some(at);
        while let Some(node) = next.and_then(|at| self.nodes.get(at)) {
            names.push(node.name.as_str());
            next = node.parent;
        }
        names.reverse();
        names
    }

    /// The path as it is written, ready to be a pattern.
    pub fn written_path(&self, at: usize) -> String {
        self.path(at).into_iter().map(glob::escaped).collect::<Vec<_>>().join("/")
    }

    /// Is this the node of that name?
    pub fn is_named(&self, node: &Node, name: &NodeName) -> bool {
        name.resolve(&self.namespaces).is_ok_and(|id| id == node.id)
    }

    /// The variables that are meant, each once.
    pub fn variables(&self) -> impl Iterator<Item = (usize, &Node, &Variable)> {
        let mut seen = HashSet::new();
        self.nodes.iter().enumerate().filter_map(move |(at, node)| match &node.kind {
            Kind::Variable(Some(variable)) if node.is_meant && seen.insert(&node.id) => {
                Some((at, node, &**variable))
            }
            _ => None,
        })
    }
}

/// Walks the address space and describes what is meant.
///
/// # Errors
/// When there is no connection, the server lets nobody in, or the connection breaks. A single node that the server
/// does not want to show is no error of the whole: it is noted at the node.
pub async fn browse(target: &Target, request: &Request) -> Result<Found, Fault> {
    let clock = Arc::new(SystemClock);
    let health = Arc::new(Health::new("browse", "opcua", target.url().to_owned(), clock));
    let session = target.connect.open(None, &health).await?;
    let walked = tokio::select! {
        walked = walk::walk(&session, request) => walked,
        fault = session.closed() => Err(fault),
    };
    let namespaces = session.namespaces.clone();
    session.close().await;
    let (nodes, is_cut, requests) = walked?;
    Ok(Found { url: target.url().to_owned(), namespaces, nodes, is_cut, requests })
}

/// A node id with the name of its namespace, which stays when the server gives out its numbers anew. A number without a
/// name stays a number.
fn named(id: &NodeId, namespaces: &[String]) -> NodeName {
    let namespace = match (id.namespace, namespaces.get(usize::from(id.namespace))) {
        (index @ 1.., Some(uri)) if !uri.is_empty() => {
            // Two namespaces of one name cannot be told apart by it.
            if namespaces.iter().position(|other| other == uri) == Some(usize::from(index)) {
                Namespace::Uri(uri.clone())
            } else {
                Namespace::Index(index)
            }
        }
        (index, _) => Namespace::Index(index),
    };
    NodeName { namespace, identifier: id.identifier.clone() }
}

/// What a value is encoded as (OPC 10000-6, table 1).
const fn encoding(value: &Variant) -> Option<&'static str> {
    Some(match value {
        Variant::Boolean(_) => "Boolean",
        Variant::SByte(_) => "SByte",
        Variant::Byte(_) => "Byte",
        Variant::Int16(_) => "Int16",
        Variant::UInt16(_) => "UInt16",
        Variant::Int32(_) => "Int32",
        Variant::UInt32(_) => "UInt32",
        Variant::Int64(_) => "Int64",
        Variant::UInt64(_) => "UInt64",
        Variant::Float(_) => "Float",
        Variant::Double(_) => "Double",
        Variant::String(_) => "String",
        Variant::DateTime(_) => "DateTime",
        Variant::Guid(_) => "Guid",
        Variant::StatusCode(_) => "StatusCode",
        Variant::ByteString(_) => "ByteString",
        Variant::XmlElement(_) => "XmlElement",
        Variant::QualifiedName(_) => "QualifiedName",
        Variant::LocalizedText(_) => "LocalizedText",
        Variant::NodeId(_) => "NodeId",
        Variant::ExpandedNodeId(_) => "ExpandedNodeId",
        Variant::ExtensionObject(_) => "Structure",
        _ => return None,
    })
}
