//! What was found, for people and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use edge_adapters::config::compose::one_line;
use edge_adapters::opcua::browse::{Found, Kind, Node, Variable};
use serde_json::{Value, json};

use crate::answers::shown;

/// The tree is at most this wide, so that what stands beside it stands on the screen.
const TREE_COLUMNS_MAX: usize = 56;
/// Types and values likewise.
const WHAT_COLUMNS_MAX: usize = 40;

/// The tree, and what to do with it.
pub(super) fn to_words(found: &Found, written: Option<(&Path, usize)>) -> String {
    let rows = rows(found);
    let width = |column: fn(&Row) -> &str, most: usize| {
        rows.iter()
            .map(|row| column(row).chars().count())
            .filter(|count| *count <= most)
            .max()
            .unwrap_or_default()
    };
    let (tree, what) = (width(|row| &row.tree, TREE_COLUMNS_MAX), width(|row| &row.what, WHAT_COLUMNS_MAX));
    let mut text = String::new();
    for row in &rows {
        let line = format!("{:<tree$}  {:<what$}  {:<2}  {}", row.tree, row.what, row.access, row.node);
        text += line.trim_end();
        text.push('\n');
    }
    let variables = found.variables().count();
    if found.is_cut {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            text,
            "The server has more: {} nodes were taken in. Narrow --path, or raise --max-nodes.",
            found.nodes.len()
        );
    }
    match written {
        Some((file, streams)) => {
            let file = file.display();
            let _ = writeln!(
                text,
                "wrote {file} with {streams} streams; try it: selvedge adapter test --config {file}"
            );
        }
        None if variables > 0 => {
            let _ = writeln!(text, "{variables} variables; --out FILE writes a configuration for them");
        }
        None => {}
    }
    text
}

struct Row {
    tree: String,
    what: String,
    access: &'static str,
    node: String,
}

/// What is meant and what lies on the way to it, as a tree.
fn rows(found: &Found) -> Vec<Row> {
    let mut is_shown = vec![false; found.nodes.len()];
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); found.nodes.len()];
    for (at, node) in found.nodes.iter().enumerate().rev() {
        // A child stands after its parent, so it has been looked at.
        is_shown[at] |= node.is_meant || at == 0;
        if let (true, Some(parent)) = (is_shown[at], node.parent) {
            is_shown[parent] = true;
            children[parent].push(at);
        }
    }
    let mut rows = Vec::new();
    // The next to show is the last; children were gathered from the end, too.
    let mut open = vec![(0, String::new(), String::new())];
    while let Some((at, before, below)) = open.pop() {
        let Some(node) = found.nodes.get(at) else { continue };
        rows.push(row(found, node, &before));
        for (number, child) in children[at].iter().enumerate() {
            // The first in this list is the last of its parent.
            let (branch, trunk) = match (number, at) {
                (_, 0) => ("", ""),
                (0, _) => ("└ ", "  "),
                _ => ("├ ", "│ "),
            };
            open.push((*child, format!("{below}{branch}"), format!("{below}{trunk}")));
        }
    }
    rows
}

fn row(found: &Found, node: &Node, before: &str) -> Row {
    let mut row = Row {
        tree: format!("{before}{}", one_line(&node.name)),
        what: String::new(),
        access: "",
        node: one_line(&node.node.to_string()),
    };
    match &node.kind {
        Kind::Object => {}
        Kind::Method => row.what.push_str("method"),
        Kind::Variable(None) => row.what.push_str("variable"),
        Kind::Variable(Some(variable)) => {
            row.what.push_str(format!("{}  {}", variable.kind(), variable.shown()).trim_end());
            row.access = access(variable);
        }
    }
    if let Some(first) = node.same_as {
        row.what = format!("see {}", one_line(&found.written_path(first)));
    }
    if let Some(error) = &node.error {
        row.what = format!("not shown: {}", one_line(error));
    }
    row
}

const fn access(variable: &Variable) -> &'static str {
    match (variable.is_readable, variable.is_writable) {
        (true, true) => "rw",
        (true, false) => "r",
        (false, true) => "w",
        (false, false) => "-",
    }
}

/// One value of JSON.
pub(super) fn to_json(found: &Found, written: Option<(&Path, usize)>) -> String {
    let nodes: Vec<Value> = found
        .nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| node.is_meant)
        .map(|(at, node)| node_json(found, at, node))
        .collect();
    let all = json!({
        "url": found.url, "namespaces": found.namespaces, "requests": found.requests, "is_cut": found.is_cut,
        "nodes": nodes,
        "file": written.map(|(file, streams)| json!({ "path": file, "streams": streams })),
    });
    format!("{all}\n")
}

fn node_json(found: &Found, at: usize, node: &Node) -> Value {
    let kind = match &node.kind {
        Kind::Object => "object",
        Kind::Variable(_) => "variable",
        Kind::Method => "method",
    };
    let mut json = json!({
        "path": found.written_path(at), "name": node.name, "node": node.node.to_string(), "kind": kind,
        "same_as": node.same_as.map(|first| found.written_path(first)), "error": node.error,
    });
    if let (Kind::Variable(Some(variable)), Some(json)) = (&node.kind, json.as_object_mut()) {
        let now = &variable.now;
        let more = json!({
            "type": variable.data_type, "encoding": variable.encoding, "elements": variable.elements,
            "access": access(variable), "value": shown::Scalar::raw(&now.value), "quality": now.quality.name(),
            "status": now.status, "source_time": variable.source_time_ns.map(|time| shown::Time(time).to_string()),
            "unit": variable.unit.as_ref().and_then(|unit| unit.ucum),
            "symbol": variable.unit.as_ref().map(|unit| unit.symbol.clone()),
            "range": variable.range.map(|(low, high)| [low, high]),
        });
        if let Value::Object(more) = more {
            json.extend(more);
        }
    }
    json
}
