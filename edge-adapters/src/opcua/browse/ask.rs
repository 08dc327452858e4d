//! Browsing and reading of many nodes at once, with a server that may refuse too much at once without saying how much
//! that is, and that may have few continuation points.

use opcua::core::ResponseMessage;
use opcua::types::{
    AttributeId, BrowseDescription, BrowseDirection, BrowseNextRequest, BrowseRequest, BrowseResult,
    BrowseResultMaskFlags, ByteString, DataValue, DateTime, NodeClassMask, NodeId, ReadRequest, ReadValueId,
    ReferenceDescription, ReferenceTypeId, StatusCode, TimestampsToReturn, VariableId, Variant,
    ViewDescription,
};

use super::super::session::{Session, as_many, unexpected};
use crate::adapter::{Fault, FaultKind};

/// Nodes in a request to browse, where the server names no limit of its own.
const NODES_MAX: usize = 100;
/// References that are asked for at once, of each node.
const REFERENCES_MAX: u32 = 1_000;
/// Answers without a reference that promise more, in a row: a server that goes on so never ends.
const EMPTY_MAX: usize = 8;

/// The children of a node, or why there are none.
pub(super) type Children = Result<Vec<ReferenceDescription>, StatusCode>;

/// Asks in a session.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    session: &'a Session,
    browse_max: usize,
    /// Most references of one node.
    references_max: usize,
    /// Requests so far.
    pub(super) requests: u64,
}

impl<'a> Asking<'a> {
    pub(super) async fn new(session: &'a Session, references_max: usize) -> Result<Self, Fault> {
        let mut asking = Self { session, browse_max: NODES_MAX, references_max, requests: 0 };
        let limit = VariableId::Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse;
        let found = asking.read(&[(NodeId::from(limit), AttributeId::Value)]).await?;
        if let Some(Variant::UInt32(limit @ 1..)) = found[0].value {
            asking.browse_max = NODES_MAX.min(limit as usize);
        }
        Ok(asking)
    }

    /// The children of each node, in their order.
    pub(super) async fn children(&mut self, nodes: &[NodeId]) -> Result<Vec<Children>, Fault> {
        let mut found: Vec<Children> = nodes.iter().map(|_| Ok(Vec::new())).collect();
        // Parts still to ask; halved when refused. The last is asked first.
        let mut parts: Vec<Vec<usize>> = (0..nodes.len())
            .collect::<Vec<_>>()
            .chunks(self.browse_max)
            .rev()
            .map(<[usize]>::to_vec)
            .collect();
        while let Some(part) = parts.pop() {
            let asked: Vec<NodeId> = part.iter().map(|at| nodes[*at].clone()).collect();
            let results = match self.browse(asked).await {
                Ok(results) => results,
                Err(Fault { kind: FaultKind::Refused(_), .. }) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    self.browse_max = self.browse_max.min(first.len().max(second.len()));
                    parts.extend([second.to_vec(), first.to_vec()]);
                    continue;
                }
                Err(Fault { kind: FaultKind::Refused(status), .. }) => {
                    found[part[0]] = Err(StatusCode::from(status));
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            let again = self.collect(&part, results, &mut found).await?;
            if part.len() > 1 {
                // Alone, a node finds a continuation point free.
                parts.extend(again.into_iter().map(|at| vec![at]));
            }
        }
        Ok(found)
    }

    /// Takes the references and fetches what is missing. Returns the nodes that must be asked once more, alone; their
    /// entry says why.
    async fn collect(
        &mut self,
        part: &[usize],
        results: Vec<BrowseResult>,
        found: &mut [Children],
    ) -> Result<Vec<usize>, Fault> {
        let mut again = Vec::new();
        let mut open: Vec<(usize, ByteString, usize)> = Vec::new();
        let mut results: Vec<(usize, usize, BrowseResult)> =
            part.iter().zip(results).map(|(at, result)| (*at, 0, result)).collect();
        loop {
            for (at, empty, result) in results {
                if result.status_code.is_bad() {
                    found[at] = Err(result.status_code);
                    if matches!(
                        result.status_code,
                        StatusCode::BadNoContinuationPoints | StatusCode::BadContinuationPointInvalid
                    ) {
                        again.push(at);
                    }
                    continue;
                }
                let more = result.references.unwrap_or_default();
                let empty = if more.is_empty() { empty + 1 } else { 0 };
                // A node that is asked once more begins anew.
                let children = match &mut found[at] {
                    Ok(children) => children,
                    wrong @ Err(_) => {
                        *wrong = Ok(Vec::new());
                        wrong.as_mut().expect("set in the line above")
                    }
                };
                children.extend(more);
                let is_more = !result.continuation_point.is_null_or_empty();
                if is_more && empty <= EMPTY_MAX && children.len() < self.references_max {
                    open.push((at, result.continuation_point, empty));
                }
            }
            if open.is_empty() {
                return Ok(again);
            }
            let (ats, points): (Vec<_>, Vec<_>) =
                open.drain(..).map(|(at, point, empty)| ((at, empty), point)).unzip();
            let next = self.browse_next(points).await?;
            as_many(next.len(), ats.len(), "answers to BrowseNext")?;
            results = ats.into_iter().zip(next).map(|((at, empty), result)| (at, empty, result)).collect();
        }
    }

    async fn browse(&mut self, nodes: Vec<NodeId>) -> Result<Vec<BrowseResult>, Fault> {
        self.requests += 1;
        let asker = self.session.asker();
        let count = nodes.len();
        let classes = NodeClassMask::OBJECT | NodeClassMask::VARIABLE | NodeClassMask::METHOD;
        let describe = |node_id| BrowseDescription {
            node_id,
            browse_direction: BrowseDirection::Forward,
            reference_type_id: NodeId::from(ReferenceTypeId::HierarchicalReferences),
            include_subtypes: true,
            node_class_mask: classes.bits(),
            result_mask: BrowseResultMaskFlags::all().bits(),
        };
        let request = BrowseRequest {
            request_header: asker.header(),
            view: ViewDescription { view_id: NodeId::null(), timestamp: DateTime::null(), view_version: 0 },
            requested_max_references_per_node: REFERENCES_MAX,
            nodes_to_browse: Some(nodes.into_iter().map(describe).collect()),
        };
        match asker.ask(request).await? {
            ResponseMessage::Browse(answer) => {
                let results = answer.results.unwrap_or_default();
                as_many(results.len(), count, "answers to Browse")?;
                Ok(results)
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn browse_next(&mut self, points: Vec<ByteString>) -> Result<Vec<BrowseResult>, Fault> {
        self.requests += 1;
        let asker = self.session.asker();
        let request = BrowseNextRequest {
            request_header: asker.header(),
            release_continuation_points: false,
            continuation_points: Some(points),
        };
        match asker.ask(request).await? {
            ResponseMessage::BrowseNext(answer) => Ok(answer.results.unwrap_or_default()),
            other => Err(unexpected(&other)),
        }
    }

    /// Attributes of nodes, in their order.
    pub(super) async fn read(&mut self, wanted: &[(NodeId, AttributeId)]) -> Result<Vec<DataValue>, Fault> {
        let mut found = Vec::with_capacity(wanted.len());
        let mut at_once = self.session.limits.read.max(1);
        let mut rest = wanted;
        while !rest.is_empty() {
            let part = &rest[..rest.len().min(at_once)];
            match self.read_part(part).await {
                Ok(values) => {
                    found.extend(values);
                    rest = &rest[part.len()..];
                }
                // Too much at once, for the request or for the answer.
                Err(Fault { kind: FaultKind::Refused(_), .. }) if part.len() > 1 => {
                    at_once = part.len().div_ceil(2);
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(found)
    }

    async fn read_part(&mut self, part: &[(NodeId, AttributeId)]) -> Result<Vec<DataValue>, Fault> {
        self.requests += 1;
        let asker = self.session.asker();
        let ids = part.iter().map(|(node, attribute)| ReadValueId::new(node.clone(), *attribute)).collect();
        let request = ReadRequest {
            request_header: asker.header(),
            max_age: 0.0,
            timestamps_to_return: TimestampsToReturn::Both,
            nodes_to_read: Some(ids),
        };
        match asker.ask(request).await? {
            ResponseMessage::Read(answer) => {
                let results = answer.results.unwrap_or_default();
                as_many(results.len(), part.len(), "values")?;
                Ok(results)
            }
            other => Err(unexpected(&other)),
        }
    }
}
