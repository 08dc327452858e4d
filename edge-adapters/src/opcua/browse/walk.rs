//! The walk itself: level by level downwards, then what the variables that are meant hold.

use std::collections::HashMap;

use opcua::types::{
    AttributeId, DataValue, EUInformation, NodeClass, NodeId, ObjectId, Range, ReferenceDescription,
    ReferenceTypeId, StatusCode, Variant,
};

use super::super::session::Session;
use super::super::value::{Picker, decode, time_ns};
use super::ask::Asking;
use super::glob::{Glob, Step};
use super::{DEPTH_MAX, Kind, Node, Request, Unit, Variable, encoding, named, unit};
use crate::adapter::Fault;

/// Longest browse name that is taken as it is (OPC 10000-3, 8.3).
const NAME_CHARS_MAX: usize = 512;
/// The property with the unit, of a variable (OPC 10000-8, 5.3.2).
const UNITS: &str = "EngineeringUnits";
/// The property with the usual range.
const RANGE: &str = "EURange";
/// What is read of each variable that is meant.
const ATTRIBUTES: [AttributeId; 4] =
    [AttributeId::Value, AttributeId::DataType, AttributeId::ValueRank, AttributeId::UserAccessLevel];
/// Bits of an access level (OPC 10000-3, 8.57).
const MAY_READ: u8 = 1;
const MAY_WRITE: u8 = 2;

/// How far each pattern has come at a node.
type Steps = Vec<Step>;

struct Walk<'a> {
    asking: Asking<'a>,
    request: &'a Request,
    namespaces: &'a [String],
    nodes: Vec<Node>,
    steps: Vec<Steps>,
    /// Where each node was first seen, and on which ways of the patterns it was entered.
    seen: HashMap<NodeId, (usize, Vec<Steps>)>,
    /// Properties that describe a variable: its unit, its range.
    units: HashMap<usize, NodeId>,
    ranges: HashMap<usize, NodeId>,
    is_cut: bool,
}

/// Nodes, whether there are more, and how many requests it took.
pub(super) async fn walk(session: &Session, request: &Request) -> Result<(Vec<Node>, bool, u64), Fault> {
    let mut walk = Walk {
        asking: Asking::new(session, request.nodes_max).await?,
        request,
        namespaces: &session.namespaces,
        nodes: Vec::new(),
        steps: Vec::new(),
        seen: HashMap::new(),
        units: HashMap::new(),
        ranges: HashMap::new(),
        is_cut: false,
    };
    walk.down().await?;
    walk.describe().await?;
    Ok((walk.nodes, walk.is_cut, walk.asking.requests))
}

impl Walk<'_> {
    async fn down(&mut self) -> Result<(), Fault> {
        let globs = &self.request.globs;
        let start = globs.iter().map(|glob| glob.step(glob.start(), "Objects")).collect();
        let objects = NodeId::from(ObjectId::ObjectsFolder);
        let mut level: Vec<usize> =
            self.add(None, "Objects", &objects, Kind::Object, start).into_iter().collect();
        for _ in 0..self.request.depth.min(DEPTH_MAX) {
            let ids: Vec<NodeId> = level.iter().map(|at| self.nodes[*at].id.clone()).collect();
            let mut next = Vec::new();
            for (at, children) in level.into_iter().zip(self.asking.children(&ids).await?) {
                match children {
                    Ok(children) => {
                        for child in &children {
                            next.extend(self.child(at, child));
                        }
                    }
                    Err(status) => self.nodes[at].error = Some(super::super::link::words(status)),
                }
            }
            if next.is_empty() || self.is_cut {
                return Ok(());
            }
            level = next;
        }
        Ok(())
    }

    /// Takes a reference in. Returns the node if it is to be entered.
    fn child(&mut self, parent: usize, child: &ReferenceDescription) -> Option<usize> {
        let id = self.local(child)?;
        let name: String = child.browse_name.name.as_ref().chars().take(NAME_CHARS_MAX).collect();
        let is_property = child.reference_type_id == ReferenceTypeId::HasProperty;
        if is_property && matches!(self.nodes[parent].kind, Kind::Variable(_)) {
            // It describes the variable, and is no part of the plant.
            match name.as_str() {
                UNITS => drop(self.units.insert(parent, id)),
                RANGE => drop(self.ranges.insert(parent, id)),
                _ => {}
            }
            return None;
        }
        let kind = match child.node_class {
            NodeClass::Object => Kind::Object,
            NodeClass::Variable => Kind::Variable(None),
            NodeClass::Method => Kind::Method,
            _ => return None,
        };
        let is_own = [ObjectId::Server, ObjectId::Aliases].iter().any(|own| id == *own);
        if is_own && !self.request.globs.iter().any(|glob| glob.begins_with(&["Objects", &name])) {
            return None;
        }
        let steps: Steps = std::iter::zip(&self.request.globs, &self.steps[parent])
            .map(|(glob, step)| glob.step(*step, &name))
            .collect();
        if !steps.iter().any(|step| step.may_go_on()) {
            return None;
        }
        self.add(Some(parent), &name, &id, kind, steps)
    }

    /// The node on this server that a reference leads to, along a reference that makes a tree.
    fn local(&self, child: &ReferenceDescription) -> Option<NodeId> {
        // What sends events to what is another story than what is part of what; and subtypes are no parts.
        const NO_PARTS: [ReferenceTypeId; 4] = [
            ReferenceTypeId::HasEventSource,
            ReferenceTypeId::HasNotifier,
            ReferenceTypeId::HasSubtype,
            ReferenceTypeId::GeneratesEvent,
        ];
        if NO_PARTS.iter().any(|kind| child.reference_type_id == *kind) || child.node_id.server_index != 0 {
            return None;
        }
        let mut id = child.node_id.node_id.clone();
        if let Some(uri) = child.node_id.namespace_uri.value() {
            let index = self.namespaces.iter().position(|name| name == uri)?;
            id.namespace = u16::try_from(index).ok()?;
        }
        Some(id)
    }

    fn add(
        &mut self,
        parent: Option<usize>,
        name: &str,
        id: &NodeId,
        kind: Kind,
        steps: Steps,
    ) -> Option<usize> {
        let at = self.nodes.len();
        if at >= self.request.nodes_max {
            self.is_cut = true;
            return None;
        }
        let (first, ways) = self.seen.entry(id.clone()).or_insert_with(|| (at, Vec::new()));
        let is_new_way = !ways.contains(&steps);
        if is_new_way {
            ways.push(steps.clone());
        }
        let (first, is_entered) = (*first, is_new_way && kind != Kind::Method);
        self.nodes.push(Node {
            parent,
            name: name.to_owned(),
            node: named(id, self.namespaces),
            kind,
            is_meant: std::iter::zip(&self.request.globs, &steps)
                .any(|(glob, step): (&Glob, _)| glob.is_meant(*step)),
            same_as: (first != at && !is_new_way).then_some(first),
            error: None,
            id: id.clone(),
        });
        self.steps.push(steps);
        is_entered.then_some(at)
    }

    /// What the variables that are meant hold.
    async fn describe(&mut self) -> Result<(), Fault> {
        let meant: Vec<usize> = (0..self.nodes.len())
            .filter(|at| self.nodes[*at].is_meant && matches!(self.nodes[*at].kind, Kind::Variable(_)))
            .collect();
        self.find_properties(&meant).await?;
        let mut wanted = Vec::with_capacity(meant.len() * ATTRIBUTES.len());
        for at in &meant {
            wanted.extend(ATTRIBUTES.map(|attribute| (self.nodes[*at].id.clone(), attribute)));
        }
        let values = self.asking.read(&wanted).await?;
        let types = self.type_names(&values).await?;
        let units = self.properties(&meant, |walk| &walk.units).await?;
        let ranges = self.properties(&meant, |walk| &walk.ranges).await?;
        for (number, at) in meant.into_iter().enumerate() {
            let of_node = &values[number * ATTRIBUTES.len()..][..ATTRIBUTES.len()];
            let mut variable = described(of_node, &types);
            variable.unit = units.get(&at).and_then(unit_of);
            variable.range = ranges.get(&at).and_then(range_of);
            self.nodes[at].kind = Kind::Variable(Some(Box::new(variable)));
        }
        Ok(())
    }

    /// The deepest variables were not entered, and those found twice only once: their properties are looked up.
    async fn find_properties(&mut self, meant: &[usize]) -> Result<(), Fault> {
        let mut entered: HashMap<NodeId, usize> = HashMap::new();
        for at in self.units.keys().chain(self.ranges.keys()) {
            entered.insert(self.nodes[*at].id.clone(), *at);
        }
        let depth = self.request.depth.min(DEPTH_MAX);
        let missing: Vec<usize> = meant.iter().copied().filter(|at| self.depth(*at) == depth).collect();
        let ids: Vec<NodeId> = missing.iter().map(|at| self.nodes[*at].id.clone()).collect();
        for (at, children) in missing.iter().zip(self.asking.children(&ids).await?) {
            for child in children.unwrap_or_default() {
                if child.reference_type_id == ReferenceTypeId::HasProperty {
                    self.child(*at, &child);
                }
            }
        }
        for at in meant {
            if let Some(first) = entered.get(&self.nodes[*at].id).copied() {
                for properties in [&mut self.units, &mut self.ranges] {
                    if let Some(id) = properties.get(&first).cloned() {
                        properties.insert(*at, id);
                    }
                }
            }
        }
        Ok(())
    }

    fn depth(&self, at: usize) -> usize {
        std::iter::successors(self.nodes[at].parent, |parent| self.nodes[*parent].parent).count()
    }

    async fn properties(
        &mut self,
        meant: &[usize],
        which: impl Fn(&Self) -> &HashMap<usize, NodeId>,
    ) -> Result<HashMap<usize, DataValue>, Fault> {
        let (ats, wanted): (Vec<usize>, Vec<_>) = meant
            .iter()
            .filter_map(|at| which(self).get(at).map(|id| (*at, (id.clone(), AttributeId::Value))))
            .unzip();
        let values = self.asking.read(&wanted).await?;
        Ok(ats.into_iter().zip(values).collect())
    }

    /// Names of the data types, by their node ids.
    async fn type_names(&mut self, values: &[DataValue]) -> Result<HashMap<NodeId, String>, Fault> {
        let mut names = HashMap::new();
        for value in values.iter().skip(1).step_by(ATTRIBUTES.len()) {
            if let Some(Variant::NodeId(id)) = &value.value {
                names.entry((**id).clone()).or_insert_with(String::new);
            }
        }
        let wanted: Vec<_> = names.keys().map(|id| (id.clone(), AttributeId::BrowseName)).collect();
        let found = self.asking.read(&wanted).await?;
        for ((id, _), name) in wanted.into_iter().zip(found) {
            let name = match name.value {
                Some(Variant::QualifiedName(name)) => {
                    name.name.as_ref().chars().take(NAME_CHARS_MAX).collect()
                }
                _ => named(&id, self.namespaces).to_string(),
            };
            names.insert(id, name);
        }
        Ok(names)
    }
}

/// What was read of a variable, in the order of [`ATTRIBUTES`].
fn described(values: &[DataValue], types: &HashMap<NodeId, String>) -> Variable {
    let [value, data_type, rank, access] = values else { unreachable!("as many as were asked for") };
    let data_type = match &data_type.value {
        Some(Variant::NodeId(id)) => types.get(&**id).cloned().unwrap_or_default(),
        _ => "BaseDataType".to_owned(),
    };
    let access = match access.value {
        Some(Variant::Byte(access)) => access,
        // Whoever does not say lets read.
        _ => MAY_READ,
    };
    let refused = matches!(value.status, Some(StatusCode::BadNotReadable | StatusCode::BadUserAccessDenied));
    let elements = match (&value.value, &rank.value) {
        (Some(Variant::Array(array)), _) => Some(array.values.len()),
        // At least one dimension, and no value that says how many elements.
        (_, Some(Variant::Int32(0 | 1..))) => Some(0),
        _ => None,
    };
    let first = Picker { index: elements.map(|_| 0), ..Picker::default() };
    let kind = match &value.value {
        Some(Variant::Array(array)) => array.values.first().and_then(encoding),
        Some(value) => encoding(value),
        None => None,
    };
    Variable {
        data_type,
        encoding: kind,
        elements,
        is_readable: access & MAY_READ != 0 && !refused,
        is_writable: access & MAY_WRITE != 0,
        now: decode(value, &first),
        source_time_ns: value.source_timestamp.as_ref().and_then(time_ns),
        unit: None,
        range: None,
    }
}

fn unit_of(value: &DataValue) -> Option<Unit> {
    let Some(Variant::ExtensionObject(object)) = &value.value else { return None };
    let information: &EUInformation = object.inner_as()?;
    let symbol: String = information.display_name.text.as_ref().chars().take(NAME_CHARS_MAX).collect();
    let ucum = unit::ucum(information.namespace_uri.as_ref(), information.unit_id, &symbol);
    (ucum.is_some() || !symbol.is_empty()).then_some(Unit { ucum, symbol })
}

fn range_of(value: &DataValue) -> Option<(f64, f64)> {
    let Some(Variant::ExtensionObject(object)) = &value.value else { return None };
    let range: &Range = object.inner_as()?;
    (range.low.is_finite() && range.high.is_finite() && range.low < range.high)
        .then_some((range.low, range.high))
}
